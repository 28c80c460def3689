-- MessagePack for Lua 5.1, as the library of that name in Redis packs and unpacks it.
local byte, char, sub, floor = string.byte, string.char, string.sub, math.floor
local pack_double, unpack_double = ...

local function big_endian(number, size)
  local bytes = {}
  for i = size, 1, -1 do
    bytes[i] = number % 256
    number = floor(number / 256)
  end
  return char(unpack(bytes))
end

local function pack_integer(n)
  if n >= 0 then
    if n < 128 then return char(n) end
    if n < 256 then return char(0xcc, n) end
    if n < 65536 then return char(0xcd, floor(n / 256), n % 256) end
    if n < 4294967296 then return '\206' .. big_endian(n, 4) end
    return '\207' .. big_endian(n, 8)
  end
  if n >= -32 then return char(256 + n) end
  if n >= -128 then return char(0xd0, 256 + n) end
  if n >= -32768 then return '\209' .. big_endian(65536 + n, 2) end
  if n >= -2147483648 then return '\210' .. big_endian(4294967296 + n, 4) end
  return '\211' .. pack_double(n, true)
end

local function head(size, fix, limit, eight, sixteen, thirty_two)
  if size < limit then return char(fix + size) end
  if eight and size < 256 then return char(eight, size) end
  if size < 65536 then return char(sixteen) .. big_endian(size, 2) end
  return char(thirty_two) .. big_endian(size, 4)
end

local function array_size(value)
  local most, count = 0, 0
  for key in pairs(value) do
    if type(key) ~= 'number' or key <= 0 or floor(key) ~= key then return nil end
    if key > most then most = key end
    count = count + 1
  end
  return most == count and count or nil
end

local pack_value

local function pack_table(value, out, level)
  if level == 16 then out[#out + 1] = '\192' return end
  local size = array_size(value)
  if size then
    out[#out + 1] = head(size, 0x90, 16, nil, 0xdc, 0xdd)
    for i = 1, size do pack_value(value[i], out, level + 1) end
    return
  end
  size = 0
  for _ in pairs(value) do size = size + 1 end
  out[#out + 1] = head(size, 0x80, 16, nil, 0xde, 0xdf)
  for key, one in pairs(value) do
    pack_value(key, out, level + 1)
    pack_value(one, out, level + 1)
  end
end

function pack_value(value, out, level)
  local kind = type(value)
  if kind == 'string' then
    out[#out + 1] = head(#value, 0xa0, 32, 0xd9, 0xda, 0xdb)
    out[#out + 1] = value
  elseif kind == 'number' then
    if floor(value) == value and value > -2 ^ 63 and value < 2 ^ 63 then
      out[#out + 1] = pack_integer(value)
    else
      out[#out + 1] = pack_double(value, false)
    end
  elseif kind == 'boolean' then
    out[#out + 1] = value and '\195' or '\194'
  elseif kind == 'table' then
    pack_table(value, out, level)
  else
    out[#out + 1] = '\192'
  end
end

local function number_at(text, at, size)
  local n = 0
  for i = at, at + size - 1 do
    local one = byte(text, i)
    if not one then error('Missing bytes in input.', 0) end
    n = n * 256 + one
  end
  return n
end

local unpack_value

local function unpack_array(text, at, size)
  local list = {}
  for i = 1, size do list[i], at = unpack_value(text, at) end
  return list, at
end

local function unpack_map(text, at, size)
  local map, key, value = {}, nil, nil
  for _ = 1, size do
    key, at = unpack_value(text, at)
    value, at = unpack_value(text, at)
    map[key] = value
  end
  return map, at
end

local function unpack_string(text, at, size)
  local found = sub(text, at, at + size - 1)
  if #found < size then error('Missing bytes in input.', 0) end
  return found, at + size
end

function unpack_value(text, at)
  local tag = byte(text, at)
  if not tag then error('Missing bytes in input.', 0) end
  at = at + 1
  if tag < 0x80 then return tag, at end
  if tag < 0x90 then return unpack_map(text, at, tag - 0x80) end
  if tag < 0xa0 then return unpack_array(text, at, tag - 0x90) end
  if tag < 0xc0 then return unpack_string(text, at, tag - 0xa0) end
  if tag >= 0xe0 then return tag - 256, at end
  if tag == 0xc0 then return nil, at end
  if tag == 0xc2 then return false, at end
  if tag == 0xc3 then return true, at end
  if tag == 0xc4 or tag == 0xd9 then return unpack_string(text, at + 1, number_at(text, at, 1)) end
  if tag == 0xc5 or tag == 0xda then return unpack_string(text, at + 2, number_at(text, at, 2)) end
  if tag == 0xc6 or tag == 0xdb then return unpack_string(text, at + 4, number_at(text, at, 4)) end
  if tag == 0xcc then return number_at(text, at, 1), at + 1 end
  if tag == 0xcd then return number_at(text, at, 2), at + 2 end
  if tag == 0xce then return number_at(text, at, 4), at + 4 end
  if tag == 0xcf then return number_at(text, at, 8), at + 8 end
  if tag == 0xd0 then local n = number_at(text, at, 1) return n < 128 and n or n - 256, at + 1 end
  if tag == 0xd1 then local n = number_at(text, at, 2) return n < 32768 and n or n - 65536, at + 2 end
  if tag == 0xd2 then local n = number_at(text, at, 4) return n < 2147483648 and n or n - 4294967296, at + 4 end
  if tag == 0xdc then return unpack_array(text, at + 2, number_at(text, at, 2)) end
  if tag == 0xdd then return unpack_array(text, at + 4, number_at(text, at, 4)) end
  if tag == 0xde then return unpack_map(text, at + 2, number_at(text, at, 2)) end
  if tag == 0xdf then return unpack_map(text, at + 4, number_at(text, at, 4)) end
  local size = tag == 0xca and 4 or (tag == 0xcb or tag == 0xd3) and 8 or nil
  if not size then error('Bad data format in input.', 0) end
  return unpack_double(tag, (unpack_string(text, at, size))), at + size
end

return {
  pack = function(value)
    local out = {}
    pack_value(value, out, 0)
    return table.concat(out)
  end,
  unpack = function(text)
    if type(text) ~= 'string' then error('bad argument #1 to unpack (string expected)', 0) end
    local value, at = unpack_value(text, 1)
    if at <= #text then error('extra bytes', 0) end
    return value
  end,
}
