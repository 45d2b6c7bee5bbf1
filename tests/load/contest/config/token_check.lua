-- What a team writes into nginx: the token's digest is looked up in Redis; status, dates, and the right that the route
-- needs on the zone of the path are looked at. With a shared dictionary named `tokens` what was found is remembered for
-- a minute, and that there is nothing for a second. A shared dictionary holds texts only.
local ffi = require "ffi"
local redis = require "nginx.redis"

ffi.cdef [[ unsigned char *SHA256(const unsigned char *data, size_t length, unsigned char *digest); ]]

local digest = ffi.new("unsigned char[32]")
local cache = ngx.shared.tokens
local REMEMBERED, UNKNOWN_REMEMBERED = 60, 1
local ROUTE = [[^/client/v4/zones/([0-9a-f]{32})/dns_records(?:/[0-9a-f]{32})?$]]

local function refuse(status, message)
    ngx.status = status
    ngx.header["Content-Type"] = "application/json"
    ngx.print('{"success":false,"errors":[{"message":"' .. message .. '"}],"messages":[],"result":null}')
    return ngx.exit(status)
end

local function read(key)
    local store = redis:new()
    store:set_timeout(500)
    if not store:connect("127.0.0.1", @{store_port}) then
        return nil, "no store"
    end
    local found = store:hmget(key, "id", "status", "not_before", "expires_on", "rights")
    if not found then
        return nil, "no answer of the store"
    end
    store:set_keepalive(60000, 1024)
    return found[1] == ngx.null and "" or table.concat(found, " ")
end

local function find(key)
    if not cache then
        return read(key)
    end
    local record = cache:get(key)
    if record then
        return record
    end
    local problem
    record, problem = read(key)
    if record then
        cache:set(key, record, record == "" and UNKNOWN_REMEMBERED or REMEMBERED)
    end
    return record, problem
end

local function holds(rights, right, zone)
    return string.find(rights, right .. "@" .. zone, 1, true)
end

local function check()
    local field = ngx.var.http_authorization
    if not field or string.sub(field, 1, 7) ~= "Bearer " then
        return refuse(401, "no token")
    end
    local secret = string.sub(field, 8)
    ffi.C.SHA256(secret, #secret, digest)
    local record, problem = find("team:" .. ffi.string(digest, 32))
    if problem then
        return refuse(503, problem)
    end
    local id, status, not_before, expires_on, rights = string.match(record, "^(%S+) (%S+) (%d+) (%d+) (.*)$")
    local now = ngx.time()
    if status ~= "active" or now < tonumber(not_before) or now >= tonumber(expires_on) then
        return refuse(401, "unknown, expired or disabled token")
    end
    local route = ngx.re.match(ngx.var.uri, ROUTE, "jo")
    if not route then
        return refuse(404, "no such route")
    end
    local reads = ngx.var.request_method == "GET"
    if not (holds(rights, "write", route[1]) or reads and holds(rights, "read", route[1])) then
        return refuse(403, "not on this zone")
    end
    ngx.var.token_id = id
end

return { check = check }
