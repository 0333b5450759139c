//! The server's own limit: so many tokens and requests a minute, with the headers in which services tell it.

use parking_lot::Mutex;
use stepmill_worker_engine::model::Format;
use tokio::time::Instant;

use super::refuse::Refused;
use crate::script::QuotaSettings;

const MINUTE_S: f64 = 60.0;

/// Two buckets that fill up steadily.
#[derive(Debug)]
pub(super) struct Quota(Mutex<[Option<Bucket>; 2]>);

#[derive(Debug)]
struct Bucket {
    size: f64,
    left: f64,
    at: Instant,
}

/// A request that is too much.
#[derive(Debug)]
pub(super) struct Over {
    what: &'static str,
    wait_s: f64,
}

impl Quota {
    pub(super) fn new(settings: QuotaSettings) -> Self {
        let bucket =
            |size: Option<u64>| size.map(|size| Bucket { size: size as f64, left: size as f64, at: Instant::now() });
        Self(Mutex::new([bucket(settings.tokens_per_minute), bucket(settings.requests_per_minute)]))
    }

    /// Takes a request with so many tokens, or nothing at all.
    pub(super) fn take(&self, tokens: u64) -> Result<(), Over> {
        let mut buckets = self.0.lock();
        let wanted = [("tokens", tokens as f64), ("requests", 1.0)];
        for (bucket, (what, amount)) in buckets.iter_mut().zip(wanted) {
            let Some(bucket) = bucket else { continue };
            let now = Instant::now();
            let filled = now.duration_since(bucket.at).as_secs_f64() * bucket.size / MINUTE_S;
            bucket.left = (bucket.left + filled).min(bucket.size);
            bucket.at = now;
            if bucket.left < amount {
                return Err(Over { what, wait_s: (amount - bucket.left) * MINUTE_S / bucket.size });
            }
        }
        for (bucket, (_, amount)) in buckets.iter_mut().zip(wanted) {
            if let Some(bucket) = bucket {
                bucket.left -= amount;
            }
        }
        Ok(())
    }
}

impl Over {
    pub(super) fn refused(&self) -> Refused {
        Refused {
            status: 429,
            kind: self.what,
            code: Some("rate_limit_exceeded"),
            message: format!("Rate limit reached: {} per minute", self.what),
        }
    }

    /// How services say when to come back.
    pub(super) fn headers(&self, format: Format) -> Vec<(&'static str, String)> {
        let tokens = self.what == "tokens";
        let (remaining, reset) = match (format, tokens) {
            (Format::OpenaiChat | Format::OpenaiResponses, true) => {
                ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens")
            }
            (Format::OpenaiChat | Format::OpenaiResponses, false) => {
                ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
            }
            (Format::Anthropic, _) => return vec![("retry-after", self.wait_s.ceil().to_string())],
        };
        vec![(remaining, "0".into()), (reset, format!("{:.3}s", self.wait_s))]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_minute_gives_as_much_as_was_said_and_no_more() {
        let quota = Quota::new(QuotaSettings { tokens_per_minute: Some(600), requests_per_minute: Some(100) });
        assert!(quota.take(500).is_ok());
        let over = quota.take(150).unwrap_err();
        assert_eq!((over.what, over.wait_s.round()), ("tokens", 5.0));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(quota.take(150).is_ok());
        let waits = over.headers(Format::OpenaiChat).into_iter().collect();
        assert_eq!(crate::wire::wait(&waits, stepmill_protocol::Timestamp(0)), Some(stepmill_protocol::Millis(5_000)));
        let few = Quota::new(QuotaSettings { tokens_per_minute: None, requests_per_minute: Some(2) });
        assert!(few.take(1_000_000).is_ok() && few.take(1).is_ok());
        assert_eq!(few.take(1).unwrap_err().what, "requests");
    }
}
