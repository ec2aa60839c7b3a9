-- call runs a command; ran is how many commands the script ran, each of which Upstash bills.
local ran = 0
local function call(...) ran = ran + 1; return redis.call(...) end
