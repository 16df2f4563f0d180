-- What wrk sends to one node, from one thread: publishes as Nacos clients write them, to each key in turn, each of a content
-- that was never sent before. Owns the form of requests and contents, which `wrk.rs` reads back, and the count of answers;
-- knows of no other node. Arguments: the group, the number of keys, a mark of this run.

local SIZE = 1024

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   group, keys, mark = args[1], tonumber(args[2]), args[3]
   acknowledged, wrong, first_wrong = 0, 0, ""
   -- wrk asks for one request more before the first, and does not send it.
   sequence = -1
   local form, content = parts(0)
   local letters = {}
   for place = 1, SIZE - #content do
      letters[place] = string.char(string.byte("a") + math.random(0, 25))
   end
   padding = table.concat(letters)
   -- Numbers have a fixed width, so all requests have the same length.
   head = string.format(
      "POST /nacos/v1/cs/configs HTTP/1.1\r\nHost: %s:%s\r\n"
         .. "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n",
      wrk.host, wrk.port, #form + SIZE)
end

-- The form up to its content, and how the content begins. Nothing in them needs to be escaped.
function parts(number)
   local key = number % keys
   return string.format("dataId=publish-%06d&group=%s&content=", key, group),
      string.format("%s.%s.key-%06d.seq-%012d.", mark, group, key, number)
end

function request()
   sequence = sequence + 1
   local form, content = parts(sequence)
   return head .. form .. content .. padding
end

function response(status, headers, body)
   if status == 200 and body == "true" then
      acknowledged = acknowledged + 1
   else
      wrong = wrong + 1
      if wrong == 1 then
         first_wrong = status .. " " .. body
      end
   end
end

function done(summary, latency, requests)
   local sent, right, other = 0, 0, 0
   for _, thread in ipairs(threads) do
      sent = sent + thread:get("sequence")
      right = right + thread:get("acknowledged")
      other = other + thread:get("wrong")
      if thread:get("wrong") > 0 then
         io.stderr:write("wrk: the first wrong answer: ", thread:get("first_wrong"), "\n")
      end
   end
   local errors = summary.errors
   print(string.format(
      '{"sent":%d,"acknowledged":%d,"wrong":%d,"socket_errors":%d,"timeouts":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d}',
      sent, right, other, errors.connect + errors.read + errors.write, errors.timeout,
      summary.duration, latency:percentile(50), latency:percentile(99)))
end
