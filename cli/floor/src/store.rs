//! Redis: the compare-and-set of each step.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client};

use crate::error::FloorError;
use crate::mark::Mark;

/// The client's own limit is half a second, which a busy disk exceeds.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Writes the number of steps done, if it still is what the caller believes.
const COMPARE_AND_SET: &str = "\
local have = redis.call('HGET', KEYS[1], 'done') or '0'
if have ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'done', ARGV[2], 'state', ARGV[3])
return 1";
/// What is stored beside the number.
const STATE: &[u8] = &[b's'; 64];

/// A connection that knows the script.
#[derive(Clone)]
pub(crate) struct Store {
    connection: MultiplexedConnection,
    script: String,
}

impl Store {
    pub(crate) async fn connect(url: &str) -> Result<Self, FloorError> {
        let mut connection = connect(url).await?;
        let script = redis::cmd("SCRIPT").arg("LOAD").arg(COMPARE_AND_SET).query_async(&mut connection).await?;
        Ok(Self { connection, script })
    }

    /// One script call per result, all in one pipeline. The answer says of each whether it was written.
    pub(crate) async fn commit(mut self, results: &[Mark]) -> Result<Vec<bool>, FloorError> {
        let mut pipeline = redis::Pipeline::with_capacity(results.len());
        for mark in results {
            let key = format!("floor:{}:{}", mark.load, mark.run);
            let script = pipeline.cmd("EVALSHA").arg(&self.script).arg(1).arg(key);
            script.arg(mark.done).arg(mark.done + 1).arg(STATE);
        }
        Ok(pipeline.query_async(&mut self.connection).await?)
    }
}

async fn connect(url: &str) -> Result<MultiplexedConnection, FloorError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_WITHIN))
        .set_response_timeout(Some(ANSWER_WITHIN));
    Ok(Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?)
}

/// Bytes that a Redis server holds in memory for its data (`used_memory`).
///
/// # Errors
/// [`FloorError::Redis`] when it does not answer.
pub async fn memory_used(url: &str) -> Result<u64, FloorError> {
    let mut connection = connect(url).await?;
    let info: String = redis::cmd("INFO").arg("memory").query_async(&mut connection).await?;
    let used = info.lines().find_map(|l| l.strip_prefix("used_memory:")).and_then(|n| n.trim().parse().ok());
    used.ok_or_else(|| FloorError::Foreign("INFO without used_memory".into()))
}
