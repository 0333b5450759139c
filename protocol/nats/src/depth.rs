//! How much there is to do in the pools' queues, as the broker knows it, whether workers are there or not.

use std::time::Duration;

use serde_json::{Value, json};
use stepmill_protocol::{PoolName, Priority};

use crate::error::NatsError;
use crate::subject;
use crate::tasks::TaskQueues;

/// How much there is to do in one pool's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskDepth {
    /// Tasks that were never delivered.
    pub waiting: u64,
    /// How long the oldest of them has lain there; zero where there is none.
    pub oldest: Duration,
    /// Tasks that were delivered and not acked.
    pub running: u64,
}

impl TaskQueues {
    /// The pools that have a queue.
    ///
    /// # Errors
    /// [`NatsError`] when the broker does not answer.
    pub async fn pools(&self) -> Result<Vec<PoolName>, NatsError> {
        let mut pools = Vec::new();
        loop {
            let body = json!({"subject": subject::TASKS_ALL, "offset": pools.len()});
            let page = self.nats().js_call("STREAM.NAMES", &body).await?;
            let names = page.get("streams").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let total = page.get("total").and_then(Value::as_u64).unwrap_or(0);
            pools.extend(names.iter().filter_map(Value::as_str).map(str::to_owned));
            if names.is_empty() || pools.len() as u64 >= total {
                return Ok(pools.iter().filter_map(|name| subject::parse_tasks_stream(name)).collect());
            }
        }
    }

    /// How much there is to do in a pool's queue; none where there is no queue.
    ///
    /// # Errors
    /// [`NatsError`] when the broker does not answer.
    pub async fn depth(&self, pool: &PoolName) -> Result<Option<TaskDepth>, NatsError> {
        let asked = Priority::ALL.map(|priority| self.depth_of(pool, priority));
        let mut all = TaskDepth::default();
        for depth in futures::future::join_all(asked).await {
            match depth {
                Ok(depth) => {
                    all.waiting += depth.waiting;
                    all.running += depth.running;
                    all.oldest = all.oldest.max(depth.oldest);
                }
                Err(NatsError::NotFound { .. }) => return Ok(None),
                Err(e) => return Err(e),
            }
        }
        Ok(Some(all))
    }

    async fn depth_of(&self, pool: &PoolName, priority: Priority) -> Result<TaskDepth, NatsError> {
        let (stream, consumer) = (subject::tasks_stream(pool), subject::tasks_consumer(pool, priority));
        let info = self.nats().js_call(&format!("CONSUMER.INFO.{stream}.{consumer}"), &json!({})).await?;
        let number = |place: &str| info.pointer(place).and_then(Value::as_u64).unwrap_or(0);
        let (waiting, running) = (number("/num_pending"), number("/num_ack_pending"));
        if waiting == 0 {
            return Ok(TaskDepth { running, ..TaskDepth::default() });
        }
        // What was delivered lies before this one; the next of these subjects is the oldest that was not.
        let next = number("/delivered/stream_seq") + 1;
        let body = json!({"seq": next, "next_by_subj": subject::tasks_of(pool, priority)});
        let oldest = match self.nats().js_call(&format!("STREAM.MSG.GET.{stream}"), &body).await {
            Ok(found) => age(&info, &found),
            // Taken in this moment.
            Err(NatsError::NotFound { .. }) => Duration::ZERO,
            Err(e) => return Err(e),
        };
        Ok(TaskDepth { waiting, oldest, running })
    }
}

/// From the time of a message to the time of the answer about its consumer: both are the broker's.
fn age(info: &Value, found: &Value) -> Duration {
    let time = |value: Option<&Value>| value?.as_str()?.parse::<jiff::Timestamp>().ok();
    let (asked, stored) = (time(info.get("ts")), time(found.pointer("/message/time")));
    let (Some(asked), Some(stored)) = (asked, stored) else { return Duration::ZERO };
    Duration::try_from(asked.duration_since(stored)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_by_the_brokers_clock() {
        let info = json!({"ts": "2026-11-22T20:00:02.500000001Z"});
        let of = |time: &str| age(&info, &json!({"message": {"time": time}}));
        assert_eq!(of("2026-11-22T20:00:00Z"), Duration::new(2, 500_000_001));
        assert_eq!(of("2026-11-22T21:59:59.5+02:00"), Duration::from_nanos(3_000_000_001));
        assert_eq!(of("2026-11-22T20:00:03Z"), Duration::ZERO, "stored since");
    }
}
