//! What an answer of the server means to a caller of the store, and what to do about it.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::port::store::StoreError;

/// Translates a failure. "Unavailable" where trying again can help, "refused" where somebody must act first.
pub(super) fn translate(e: &RedisError) -> StoreError {
    match e.code() {
        Some("OOM") => StoreError::Refused(format!(
            "Redis is out of memory; raise `maxmemory` (CONFIG SET maxmemory <bytes>, and in redis.conf) or shorten the \
             retention of finished runs ({e})"
        )),
        Some("READONLY") => StoreError::Unavailable(format!(
            "this Redis server is a replica and takes no writes; if it does not become the primary, point the coordinator's \
             Redis address at the primary ({e})"
        )),
        Some("MISCONF") => StoreError::Unavailable(format!(
            "Redis cannot save to disk and takes no writes; look at its log and free space on its disk ({e})"
        )),
        Some("NOREPLICAS") => StoreError::Unavailable(format!(
            "Redis has fewer replicas than `min-replicas-to-write` asks for and takes no writes; bring a replica back ({e})"
        )),
        Some("NOAUTH" | "WRONGPASS") => StoreError::Refused(format!(
            "Redis does not accept the user or password; correct the Redis address (redis://user:password@host) ({e})"
        )),
        Some("NOPERM") => StoreError::Refused(format!(
            "this Redis user lacks a permission; grant its ACL all keys below the prefix, scripts (EVALSHA, SCRIPT LOAD) \
             and INFO ({e})"
        )),
        Some("WRONGTYPE") => StoreError::Corrupt(format!(
            "a key has another type than ours; does another program use the same prefix in this database? ({e})"
        )),
        Some("MOVED" | "ASK" | "CROSSSLOT") => StoreError::Refused(format!(
            "this is a node of a Redis Cluster, which needs a proxy or a single primary here; give the address of one ({e})"
        )),
        _ => other(e),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library keeps its list of kinds open")]
fn other(e: &RedisError) -> StoreError {
    match e.kind() {
        ErrorKind::InvalidClientConfig => StoreError::Refused(format!(
            "the Redis address is not usable; write it as redis://[user:password@]host:port[/db], or rediss:// for TLS ({e})"
        )),
        ErrorKind::AuthenticationFailed => StoreError::Refused(format!(
            "Redis does not accept the user or password; correct the Redis address (redis://user:password@host) ({e})"
        )),
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => {
            StoreError::Corrupt(format!("Redis answered in an unexpected form ({e})"))
        }
        ErrorKind::Io => StoreError::Unavailable(format!(
            "no answer from Redis; check that the server runs and can be reached, the connection is tried again ({e})"
        )),
        // Whatever it is, it did not say that the data is wrong, so it may be tried again.
        _ => StoreError::Unavailable(format!("Redis failed ({e})")),
    }
}

/// Whether the connection had better be replaced, although the client library would keep it: the peer does not answer any
/// more, or is a replica by now and the address leads to another server.
pub(super) fn wants_new_connection(e: &RedisError) -> bool {
    e.is_timeout() || e.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// Whether the server does not know a script.
pub(super) fn is_unknown_script(e: &RedisError) -> bool {
    e.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_error(code: &str) -> RedisError {
        redis::make_extension_error(code.into(), None)
    }

    #[test]
    fn what_waiting_cannot_mend_is_refused() {
        assert!(matches!(translate(&server_error("OOM")), StoreError::Refused(t) if t.contains("maxmemory")));
        assert!(matches!(translate(&server_error("MISCONF")), StoreError::Unavailable(t) if t.contains("disk")));
        assert!(matches!(translate(&server_error("WRONGTYPE")), StoreError::Corrupt(_)));
        assert!(matches!(translate(&server_error("SOMETHINGNEW")), StoreError::Unavailable(_)));
    }
}
