-- The requests of a scenario, for wrk: what follows `--` is name=value, see `init`. The last line that it prints is
-- what it found, as JSON.

-- The fields of a request, the way an SDK's client sends them; with Host and Authorization nine.
local FIELDS = {
    ["User-Agent"] = "cloudflare-python/4.3.1",
    ["Accept"] = "application/json",
    ["Accept-Encoding"] = "gzip, deflate",
    ["Accept-Language"] = "en",
    ["Content-Type"] = "application/json",
    ["Connection"] = "keep-alive",
    ["Traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
local QUERY = "?page=1&per_page=50&match=all"

-- A step through the tokens that meets each once before it meets one twice (it divides no count that is used).
local STEP = 7919

local function tokens_of(file)
    local zones, secrets = {}, {}
    for line in io.lines(file) do
        local zone, secret = line:match("^(%S+) (%S+)$")
        zones[#zones + 1], secrets[#secrets + 1] = zone, secret
    end
    return zones, secrets
end

-- Requests that are unlike each other: a query and a traceparent of its own in each, and with `file` a token.
local function unlike(method, target, fields, body, file)
    local lines = ""
    for name, value in pairs(fields) do
        if name ~= "Traceparent" and not (file and name == "Authorization") then
            lines = lines .. name .. ": " .. value .. "\r\n"
        end
    end
    local length = body and ("Content-Length: " .. #body .. "\r\n") or ""
    local before = method .. " " .. target .. "?page=1&per_page=50&name=host-"
    local between = " HTTP/1.1\r\n" .. lines .. length .. "Traceparent: 00-0af7651916cd43dd"
    local behind = "-b7ad6b7169203331-01\r\n\r\n" .. (body or "")
    -- Another beginning in each run: no proxy has seen these lines before.
    local number = os.time() % 1000000 * 100000
    if not file then
        return function()
            number = number + 1
            return string.format("%s%d%s%016d%s", before, number, between, number, behind)
        end
    end
    local zones, secrets = tokens_of(file)
    local at, count = 0, #zones
    local first, last = target:match("^(.*/zones/)%x+(.*)$")
    before = method .. " " .. first
    local name = last .. "?page=1&per_page=50&name=host-"
    between = " HTTP/1.1\r\n" .. lines .. length .. "Authorization: Bearer "
    return function()
        number = number + 1
        at = (at + STEP) % count
        return string.format(
            "%s%s%s%d%s%s\r\nTraceparent: 00-0af7651916cd43dd%016d%s",
            before, zones[at + 1], name, number, between, secrets[at + 1], number, behind
        )
    end
end

function init(args)
    local given = {}
    for _, arg in ipairs(args) do
        local name, value = arg:match("^(%a+)=(.*)$")
        given[name] = value
    end
    local fields = {}
    for name, value in pairs(FIELDS) do
        fields[name] = value
    end
    fields["Host"] = wrk.headers["Host"]
    fields["Authorization"] = given.credential ~= "" and given.credential or nil
    if given.close then
        fields["Connection"] = "close"
    end
    local body = given.body and string.rep("x", tonumber(given.body)) or nil
    if given.unlike then
        request = unlike(given.method, given.target, fields, body, given.tokens)
        return
    end
    wrk.method, wrk.path, wrk.headers, wrk.body = given.method, given.target .. QUERY, fields, body
end

function done(summary, latency)
    local wrong = summary.errors
    io.write(string.format(
        '{"requests":%d,"seconds":%.6f,"bytes":%d,"p50":%.3f,"p99":%.3f,"refused":%d,"broken":%d}\n',
        summary.requests, summary.duration / 1e6, summary.bytes,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000,
        wrong.status, wrong.connect + wrong.read + wrong.write + wrong.timeout
    ))
end
