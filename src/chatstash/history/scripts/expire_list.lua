#!lua flags=allow-key-locking
-- Sets an expiry on a list that has none.
--
-- KEYS[1]  the list
-- ARGV[1]  seconds until it expires
-- Answer   1 if it was set; 0 where the key holds no list, or expires already
-- Cost     three commands; where it was set, also those that go along

--- @include "along"

if call('TYPE', KEYS[1]).ok ~= 'list' then return 0 end
local was_set = call('EXPIRE', KEYS[1], ARGV[1], 'NX')
if was_set == 1 then ran_along() end
return was_set
