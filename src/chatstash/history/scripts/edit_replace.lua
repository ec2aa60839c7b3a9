#!lua flags=allow-key-locking
-- Replaces a message. Its record keeps its id and all its fields that the new one does not have.
--
-- KEYS[1]  the conversation
-- KEYS[2]  the marker of this edit
-- ARGV[1]  seconds until the marker expires
-- ARGV[2]  how the record is named: r, m or b (include/find.lua)
-- ARGV[3]  its id or its bytes
-- ARGV[4]  the type and the data of the new record, JSON up to the brace that ends the data
-- ARGV[5]  its other fields, JSON with a comma before each
-- ARGV[6]  the names of all its fields, as a JSON array
-- ARGV[7]  '1' where the message keeps the id that a framework gave the old one, or ''
-- Answer   {1, commands, 1, how many records there are}, or {0, commands, 1} where there is no such record
-- Cost     eight commands; a few more where the record is not among the newest hundred

--- @include "edit"
--- @include "fields"
--- @include "find"

local before = made_before()
if before then return before end
local index, raw = find(ARGV[2], ARGV[3])
if not index then return {0, ran, 1} end
local left_out = {rid = true, g = true, stand_in = true}
for _, name in ipairs(cjson.decode(ARGV[6])) do left_out[name] = true end
local own_id = ARGV[7] ~= '' and own_id_of(raw)
local kept_id = own_id and (string.sub(ARGV[4], -1) == '{' and '' or ',') .. '"id":' .. cjson.encode(own_id) or ''
local id = identity(raw)
-- It keeps its generation too: a number that fell back would hide the edit from caches.
local ending = id ~= raw and ',"rid":"' .. id .. '"' .. string.sub(raw, #without_generation(raw)) or '}'
call('LSET', KEYS[1], index, ARGV[4] .. kept_id .. '}' .. ARGV[5] .. other_fields(raw, left_out) .. ending)
return edited(1, listed)
