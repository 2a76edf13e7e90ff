-- The script of wrk: every request carries another key of a file. At the end it prints the counts as a line of JSON.
-- wrk -s keys.lua URL -- KEYS_FILE TARGET

local requests, count, at = {}, 0, 0

-- All requests are formatted beforehand, so that the load generator does little while it measures.
function init(args)
  for line in io.lines(args[1]) do
    count = count + 1
    requests[count] = wrk.format("GET", args[2], { ["Authorization"] = "ApiKey " .. line:match("^%S+") })
  end
end

-- In large steps: however short the run, its keys come from the whole file. The step is a prime, so that all get their
-- turn.
function request()
  at = (at + 7919) % count
  return requests[at + 1]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"answers":%d,"microseconds":%d,"error_statuses":%d,"broken":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
