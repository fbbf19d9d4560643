//! Keys to migrate, made inside the server so that filling it takes no time to speak of.

use redis::Connection;

use crate::Result;

/// Of ten keys: six strings, half of them volatile, two hashes, a set, a sorted set.
const MIXED: &str = r"
for n = ARGV[1], ARGV[2] do
  local kind, key = n % 10, 'bench:' .. string.format('%.0f', n)
  if kind < 3 then redis.call('SET', key, string.rep('v', 64))
  elseif kind < 6 then redis.call('SET', key, string.rep('v', 64), 'EX', 86400)
  elseif kind < 8 then redis.call('HSET', key, 'name', key, 'mail', key, 'visits', n, 'plan', 'free')
  elseif kind < 9 then redis.call('SADD', key, 'a', 'b', 'c', 'd', n)
  else redis.call('ZADD', key, 1, 'a', 2, 'b', 3, 'c', n, 'd') end
end";

/// How many keys one script call makes: short enough that the server answers others meanwhile.
const BATCH: u64 = 10_000;

pub(crate) fn fill(server: &mut Connection, keys: u64) -> Result<()> {
    for first in (0..keys).step_by(usize::try_from(BATCH)?) {
        let last = keys.min(first + BATCH) - 1;
        redis::cmd("EVAL").arg(MIXED).arg(0).arg(first).arg(last).exec(server)?;
    }
    Ok(())
}
