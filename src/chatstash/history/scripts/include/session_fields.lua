-- The fields of a session in the hash of an index. The same as records/index.py.
local function fields_of(session)
  local fields = {}
  for letter in string.gmatch(FIELDS, '.') do fields[#fields + 1] = letter .. session end
  return fields
end
