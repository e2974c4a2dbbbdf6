-- For wrk: pushes for 1,000 absent tokens. Arguments: how many are pipelined, the payload.
local depth, number

function init(args)
  depth = tonumber(args[1])
  wrk.body = args[2]
  number = 0
end

function request()
  local requests = {}
  for i = 1, depth do
    number = (number + 1) % 1000
    requests[i] = wrk.format("POST", string.format("/3/device/%064x", number))
  end
  return table.concat(requests)
end
