//! The streams and consumers with their settings: created where they are missing, compared where they exist.

use std::time::Duration;

use serde_json::{Map, Value, json};
use stepmill_protocol::{PoolName, Priority};
use tokio::time::Instant;

use crate::connect::Nats;
use crate::error::NatsError;
use crate::subject;
use crate::wire::nanos;

/// Jobs that wait to be taken in; above it, submitters get an error.
pub const JOBS_MESSAGES_MAX: i64 = 1_000_000;
/// Bytes of one job.
pub const JOB_BYTES_MAX: i64 = 896 * 1024;
/// How long the message id of a job is remembered.
pub const JOBS_DEDUP_WINDOW: Duration = Duration::from_secs(600);
/// Tasks of one pool that lie in its stream; far above what coordinators publish at a time.
pub const TASKS_MESSAGES_MAX: i64 = 1_000_000;
/// How long dead letters are kept.
pub const DEAD_MAX_AGE: Duration = Duration::from_secs(90 * 24 * 3600);
/// How long events are kept: longer than any takeover, for people to look at.
pub const EVENTS_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long source and id of an event are remembered.
pub const EVENTS_DEDUP_WINDOW: Duration = Duration::from_secs(600);
/// Deliveries of one consumer that may be unacked; not per worker.
pub const ACK_PENDING_MAX: i64 = 20_000;
/// Pull requests that may wait at one consumer; the server's own default refuses some of 700 workers.
pub const PULLS_WAITING_MAX: i64 = 4_096;
/// How long a cluster may take until a new stream or consumer has a leader: until then nobody answers questions about it.
pub const LEADER_WITHIN: Duration = Duration::from_secs(30);
/// The pause before it is asked again.
const LEADER_PAUSE: Duration = Duration::from_millis(200);
/// How long a coordinator may hold a job before another gets it.
pub const JOBS_ACK_WAIT: Duration = Duration::from_secs(30);

/// What an installation may choose about its streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Copies of each stream: 1, or 3 in a cluster.
    pub replicas: usize,
    /// How long the log is kept. Live runs append snapshots before half of it has passed.
    pub log_max_age: Duration,
    /// How long message ids of tasks are remembered (the server's minimum is 100 ms).
    pub tasks_dedup_window: Duration,
    /// How long after its last sign a worker's task is delivered to another.
    pub ack_wait: Duration,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            replicas: 1,
            log_max_age: Duration::from_secs(30 * 24 * 3600),
            tasks_dedup_window: Duration::from_secs(120),
            ack_wait: Duration::from_millis(2_500),
        }
    }
}

/// Settings that the server never changes on an existing stream.
const STREAM_FIXED: [&str; 2] = ["retention", "storage"];
/// Settings that the server never changes on an existing consumer.
const CONSUMER_FIXED: [&str; 2] = ["ack_policy", "deliver_policy"];

impl Nats {
    /// Creates or checks the streams that every installation has (not those of the pools).
    ///
    /// # Errors
    /// [`NatsError::Setting`] names a setting of an existing stream that is wrong and cannot be changed.
    pub async fn ensure_streams(&self, options: &StreamOptions) -> Result<(), NatsError> {
        let until = Instant::now() + LEADER_WITHIN;
        while let Err(error) = self.try_streams(options).await {
            again(error, until).await?;
        }
        Ok(())
    }

    async fn try_streams(&self, options: &StreamOptions) -> Result<(), NatsError> {
        for (name, settings) in [
            (subject::LOG_STREAM, log_settings(options)),
            (subject::JOBS_STREAM, jobs_settings(options)),
            (subject::EVENTS_STREAM, events_settings(options)),
            (subject::DEFS_STREAM, defs_settings(options)),
            (subject::DEAD_STREAM, dead_settings(options)),
        ] {
            self.ensure_stream(name, settings).await?;
        }
        let intake = json!({
            "ack_policy": "explicit", "deliver_policy": "all", "replay_policy": "instant",
            "ack_wait": nanos(JOBS_ACK_WAIT), "max_deliver": -1,
            "max_ack_pending": ACK_PENDING_MAX, "max_waiting": PULLS_WAITING_MAX,
        });
        self.ensure_consumer(subject::JOBS_STREAM, subject::JOBS_CONSUMER, intake).await
    }

    /// Creates or checks the stream of a pool and its consumers, one per priority.
    ///
    /// # Errors
    /// See [`Nats::ensure_streams`].
    pub async fn ensure_pool(&self, pool: &PoolName, options: &StreamOptions) -> Result<(), NatsError> {
        let until = Instant::now() + LEADER_WITHIN;
        while let Err(error) = self.try_pool(pool, options).await {
            again(error, until).await?;
        }
        Ok(())
    }

    async fn try_pool(&self, pool: &PoolName, options: &StreamOptions) -> Result<(), NatsError> {
        let stream = subject::tasks_stream(pool);
        self.ensure_stream(&stream, tasks_settings(pool, options)).await?;
        for priority in Priority::ALL {
            let settings = json!({
                "filter_subject": subject::tasks_of(pool, priority),
                "ack_policy": "explicit", "deliver_policy": "all", "replay_policy": "instant",
                "ack_wait": nanos(options.ack_wait), "max_deliver": -1,
                "max_ack_pending": ACK_PENDING_MAX, "max_waiting": PULLS_WAITING_MAX,
            });
            self.ensure_consumer(&stream, &subject::tasks_consumer(pool, priority), settings).await?;
        }
        Ok(())
    }

    async fn ensure_stream(&self, name: &str, settings: Value) -> Result<(), NatsError> {
        match self.js_call(&format!("STREAM.INFO.{name}"), &json!({})).await {
            Err(NatsError::NotFound { .. }) => {}
            Err(e) => return Err(e),
            Ok(info) => {
                let found = config_of(&info);
                let Some(merged) = merge(&format!("stream {name}"), &found, &settings, &STREAM_FIXED)? else {
                    return Ok(());
                };
                return self.js_call(&format!("STREAM.UPDATE.{name}"), &merged).await.map(drop);
            }
        }
        let mut config = settings;
        config["name"] = json!(name);
        // Another coordinator may create it in the same moment: the same settings are then no error.
        self.js_call(&format!("STREAM.CREATE.{name}"), &config).await.map(drop)
    }

    async fn ensure_consumer(&self, stream: &str, name: &str, settings: Value) -> Result<(), NatsError> {
        let config = match self.js_call(&format!("CONSUMER.INFO.{stream}.{name}"), &json!({})).await {
            Err(NatsError::NotFound { .. }) => {
                let mut config = settings;
                config["durable_name"] = json!(name);
                config["name"] = json!(name);
                config
            }
            Err(e) => return Err(e),
            Ok(info) => {
                let found = config_of(&info);
                match merge(&format!("consumer {stream}/{name}"), &found, &settings, &CONSUMER_FIXED)? {
                    Some(merged) => merged,
                    None => return Ok(()),
                }
            }
        };
        let request = json!({"stream_name": stream, "config": config});
        self.js_call(&format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), &request).await.map(drop)
    }

    /// The ack wait of a pool's consumer, read with the rights of a worker.
    pub(crate) async fn ack_wait(&self, pool: &PoolName, priority: Priority) -> Result<Duration, NatsError> {
        let (stream, consumer) = (subject::tasks_stream(pool), subject::tasks_consumer(pool, priority));
        let info = self.js_call(&format!("CONSUMER.INFO.{stream}.{consumer}"), &json!({})).await?;
        let wait = config_of(&info).get("ack_wait").and_then(Value::as_u64);
        wait.map(Duration::from_nanos).ok_or_else(|| NatsError::malformed("the consumer's settings", "no ack_wait"))
    }

    /// The present state of a stream.
    ///
    /// # Errors
    /// [`NatsError::NotFound`] when there is no such stream.
    pub(crate) async fn stream_state(&self, stream: &str) -> Result<StreamState, NatsError> {
        let info = self.js_call(&format!("STREAM.INFO.{stream}"), &json!({})).await?;
        let number = |field: &str| info.pointer(&format!("/state/{field}")).and_then(Value::as_u64).unwrap_or(0);
        let created = info.get("created").and_then(Value::as_str).unwrap_or("");
        Ok(StreamState {
            first_seq: number("first_seq"),
            last_seq: number("last_seq"),
            messages: number("messages"),
            incarnation: created.to_owned(),
        })
    }
}

/// Where a stream begins and ends, and which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// The sequence of the oldest message (of the next one, where it is empty).
    pub first_seq: u64,
    /// The sequence of the newest message, gone or not.
    pub last_seq: u64,
    /// How many it holds.
    pub messages: u64,
    /// The time at which it was created: another one is another stream.
    pub incarnation: String,
}

/// Waits a moment where trying again can help and there is time left; else hands the error back.
async fn again(error: NatsError, until: Instant) -> Result<(), NatsError> {
    if !error.is_retryable() || Instant::now() >= until {
        return Err(error);
    }
    tracing::info!(%error, "a stream cannot be made or looked at yet; trying again");
    tokio::time::sleep(LEADER_PAUSE).await;
    Ok(())
}

fn config_of(info: &Value) -> Map<String, Value> {
    info.get("config").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// The whole configuration with our settings put in; none where nothing has to change.
fn merge(
    object: &str,
    found: &Map<String, Value>,
    wanted: &Value,
    fixed: &[&'static str],
) -> Result<Option<Value>, NatsError> {
    let mut merged = found.clone();
    let mut changed = false;
    for (key, want) in wanted.as_object().into_iter().flatten() {
        let have = found.get(key).unwrap_or(&Value::Null);
        if have == want || (have.is_null() && is_zero(want)) {
            continue;
        }
        if let Some(&setting) = fixed.iter().find(|f| *f == key) {
            let (found, wanted) = (have.to_string(), want.to_string());
            return Err(NatsError::Setting { object: object.into(), setting, found, wanted });
        }
        tracing::info!(object, setting = %key, found = %have, wanted = %want, "changing a setting");
        merged.insert(key.clone(), want.clone());
        changed = true;
    }
    Ok(changed.then_some(Value::Object(merged)))
}

/// The server leaves out what has its zero value.
fn is_zero(v: &Value) -> bool {
    *v == json!(false) || *v == json!(0) || *v == json!("")
}

fn log_settings(options: &StreamOptions) -> Value {
    json!({
        "subjects": [subject::LOG_ALL], "retention": "limits", "storage": "file", "discard": "old",
        "num_replicas": options.replicas, "max_age": nanos(options.log_max_age), "allow_direct": true,
        "max_msgs": -1, "max_bytes": -1,
    })
}

fn jobs_settings(options: &StreamOptions) -> Value {
    json!({
        "subjects": [subject::JOBS_ALL], "retention": "workqueue", "storage": "file", "discard": "new",
        "num_replicas": options.replicas, "max_msgs": JOBS_MESSAGES_MAX, "max_msg_size": JOB_BYTES_MAX,
        "duplicate_window": nanos(JOBS_DEDUP_WINDOW), "max_age": 0,
    })
}

fn events_settings(options: &StreamOptions) -> Value {
    json!({
        "subjects": [subject::EVENTS_ALL], "retention": "limits", "storage": "file", "discard": "old",
        "num_replicas": options.replicas, "max_age": nanos(EVENTS_MAX_AGE), "max_msg_size": JOB_BYTES_MAX,
        "duplicate_window": nanos(EVENTS_DEDUP_WINDOW), "allow_direct": true,
    })
}

fn tasks_settings(pool: &PoolName, options: &StreamOptions) -> Value {
    json!({
        "subjects": [subject::tasks_all(pool)], "retention": "workqueue", "storage": "file", "discard": "new",
        "num_replicas": options.replicas, "max_msgs": TASKS_MESSAGES_MAX,
        "duplicate_window": nanos(options.tasks_dedup_window), "max_age": 0, "allow_direct": true,
    })
}

fn defs_settings(options: &StreamOptions) -> Value {
    json!({
        "subjects": [subject::DEFS_ALL], "retention": "limits", "storage": "file", "discard": "old",
        "num_replicas": options.replicas, "max_msgs_per_subject": 1, "max_age": 0, "max_msgs": -1,
        "allow_direct": true,
    })
}

fn dead_settings(options: &StreamOptions) -> Value {
    json!({
        "subjects": [subject::DEAD_ALL], "retention": "limits", "storage": "file", "discard": "old",
        "num_replicas": options.replicas, "max_age": nanos(DEAD_MAX_AGE), "allow_direct": true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(v: Value) -> Map<String, Value> {
        v.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn equal_settings_change_nothing() {
        let found = object(json!({"retention": "limits", "max_age": 5, "other": 1}));
        let wanted = json!({"retention": "limits", "max_age": 5, "no_ack": false});
        assert!(matches!(merge("s", &found, &wanted, &STREAM_FIXED), Ok(None)));
    }

    #[test]
    fn what_can_change_is_changed_and_the_rest_kept() {
        let found = object(json!({"retention": "limits", "max_age": 5, "other": 1}));
        let merged = merge("s", &found, &json!({"max_age": 6}), &STREAM_FIXED).unwrap();
        assert_eq!(merged, Some(json!({"retention": "limits", "max_age": 6, "other": 1})));
    }

    #[test]
    fn what_cannot_change_is_named() {
        let found = object(json!({"retention": "limits"}));
        let refused = merge("stream SM_JOBS", &found, &json!({"retention": "workqueue"}), &STREAM_FIXED);
        assert!(matches!(refused, Err(NatsError::Setting { setting: "retention", .. })));
    }
}
