//! What the server promises, read when connecting, and what a durability profile asks for.

use std::collections::BTreeMap;

use super::connection::Connection;
use crate::port::store::StoreError;

/// Oldest Redis: scripts use commands that came with it.
const REDIS_MIN: (u32, u32) = (7, 0);
/// Oldest Valkey: its first release.
const VALKEY_MIN: (u32, u32) = (7, 2);

/// What an installation is to survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Nothing is asked of the server.
    Dev,
    /// One node: a power cut with nothing acknowledged missing.
    Single,
    /// Several nodes: the loss of one.
    Cluster,
}

/// Settings of the server that the coordinator's promises rest on. `None`: the server does not let us read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// `Redis` or `Valkey`.
    pub product: String,
    /// Its version.
    pub version: String,
    /// What it throws away when memory runs out.
    pub maxmemory_policy: Option<String>,
    /// Whether it keeps an append-only file.
    pub appendonly: Option<bool>,
    /// When it syncs that file: `always`, `everysec` or `no`.
    pub appendfsync: Option<String>,
    /// Replicas that are connected.
    pub replicas: Option<u64>,
}

impl ServerSettings {
    /// Reads them; what may not be read stays unknown.
    pub(super) async fn read(connection: &Connection) -> Result<Self, StoreError> {
        let info: String = match connection.command(&redis::cmd("INFO")).await {
            Ok(info) => info,
            Err(e @ StoreError::Unavailable(_)) => return Err(e),
            Err(_) => String::new(),
        };
        let mut wanted = redis::cmd("CONFIG");
        wanted.arg("GET").arg("maxmemory-policy").arg("appendonly").arg("appendfsync");
        // Managed servers forbid it with various errors; if the connection is gone, the next command will say so.
        let config: BTreeMap<String, String> = connection.command(&wanted).await.unwrap_or_default();
        Ok(Self::parse(&info, &config))
    }

    fn parse(info: &str, config: &BTreeMap<String, String>) -> Self {
        let info: BTreeMap<&str, &str> = info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
        let text = |name: &str| info.get(name).map(ToString::to_string);
        let (product, version) = match text("valkey_version") {
            Some(version) => ("Valkey", version),
            None => ("Redis", text("redis_version").unwrap_or_default()),
        };
        Self {
            product: product.into(),
            version,
            maxmemory_policy: config.get("maxmemory-policy").cloned().or_else(|| text("maxmemory_policy")),
            appendonly: config
                .get("appendonly")
                .map(|v| v == "yes")
                .or_else(|| info.get("aof_enabled").map(|v| *v == "1")),
            appendfsync: config.get("appendfsync").cloned(),
            replicas: info.get("connected_slaves").and_then(|v| v.parse().ok()),
        }
    }

    /// What no installation can do without.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let (least, name) = if self.product == "Valkey" { (VALKEY_MIN, "Valkey") } else { (REDIS_MIN, "Redis") };
        match version_of(&self.version) {
            Some(have) if have < least => {
                return Err(StoreError::Refused(format!(
                    "this server is {name} {}; install {name} {}.{} or later",
                    self.version, least.0, least.1
                )));
            }
            Some(_) => {}
            None => tracing::warn!("the server does not tell its version; Redis 7.0 or Valkey 7.2 is needed at least"),
        }
        match self.maxmemory_policy.as_deref() {
            Some("noeviction") => Ok(()),
            Some(policy) => Err(StoreError::Refused(format!(
                "the server's `maxmemory-policy` is `{policy}`, which lets it throw runs away; run `CONFIG SET \
                 maxmemory-policy noeviction` and write `maxmemory-policy noeviction` into its redis.conf"
            ))),
            None => {
                tracing::warn!("the server does not tell its `maxmemory-policy`; make sure that it is `noeviction`");
                Ok(())
            }
        }
    }
}

fn version_of(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What the server promises less than the profile needs, each with the setting to change. Empty: nothing.
#[must_use]
pub fn profile_mismatches(profile: Profile, server: &ServerSettings) -> Vec<String> {
    let mut found = Vec::new();
    if profile != Profile::Dev && server.appendonly == Some(false) {
        found.push(
            "Redis keeps its data in memory only: `appendonly` is `no`; run `CONFIG SET appendonly yes` and write \
             `appendonly yes` into redis.conf"
                .into(),
        );
    }
    match (profile, server.appendfsync.as_deref()) {
        (Profile::Single, Some(sync)) if sync != "always" => found.push(format!(
            "Redis may lose the last writes in a power cut: `appendfsync` is `{sync}`; run `CONFIG SET appendfsync always` and \
             write `appendfsync always` into redis.conf"
        )),
        (Profile::Cluster, Some("no")) => found.push(
            "Redis leaves syncing to the operating system: `appendfsync` is `no`; run `CONFIG SET appendfsync everysec` (or \
             `always`) and write it into redis.conf"
                .into(),
        ),
        (Profile::Dev | Profile::Single | Profile::Cluster, _) => {}
    }
    if profile == Profile::Cluster && server.replicas == Some(0) {
        found.push("Redis has no replica that is connected; start one with `replicaof <primary> <port>`".into());
    }
    found
}

/// What the profile needs and the server does not let us read; to be told to the operator, who has to look himself.
#[must_use]
pub fn profile_unknowns(profile: Profile, server: &ServerSettings) -> Vec<String> {
    let mut found = Vec::new();
    let mut unknown = |setting: &str, needed: &str| {
        found.push(format!("the Redis server does not let us read {setting} (CONFIG GET or INFO is forbidden); make sure that it is {needed}"));
    };
    if profile != Profile::Dev && server.appendonly.is_none() {
        unknown("`appendonly`", "`yes`");
    }
    match (profile, &server.appendfsync) {
        (Profile::Single, None) => unknown("`appendfsync`", "`always`"),
        (Profile::Cluster, None) => unknown("`appendfsync`", "`everysec` or `always`"),
        (Profile::Dev, _) | (Profile::Single | Profile::Cluster, Some(_)) => {}
    }
    if profile == Profile::Cluster && server.replicas.is_none() {
        unknown("its replicas", "followed by one at least");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    #[test]
    fn valkey_is_told_from_the_redis_it_claims_to_be() {
        let info = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n";
        let settings = ServerSettings::parse(info, &config(&[]));
        assert_eq!((settings.product.as_str(), settings.version.as_str()), ("Valkey", "9.1.2"));
        assert!(settings.check().is_ok());
        let old = ServerSettings { product: "Valkey".into(), version: "7.0.0".into(), ..settings };
        assert!(matches!(old.check(), Err(StoreError::Refused(_))));
    }

    #[test]
    fn evicting_and_old_servers_are_refused_by_name_of_the_setting() {
        let lru = ServerSettings::parse("redis_version:7.0.15\r\nmaxmemory_policy:allkeys-lru\r\n", &config(&[]));
        assert!(
            matches!(lru.check(), Err(StoreError::Refused(t)) if t.contains("CONFIG SET maxmemory-policy noeviction"))
        );
        let old = ServerSettings::parse("redis_version:6.2.14\r\n", &config(&[("maxmemory-policy", "noeviction")]));
        assert!(matches!(old.check(), Err(StoreError::Refused(t)) if t.contains("7.0")));
    }

    #[test]
    fn profiles_ask_for_what_they_promise() {
        let dev = ServerSettings::parse(
            "redis_version:7.0.15\r\nconnected_slaves:0\r\n",
            &config(&[("maxmemory-policy", "noeviction"), ("appendonly", "no"), ("appendfsync", "everysec")]),
        );
        assert!(profile_mismatches(Profile::Dev, &dev).is_empty());
        assert_eq!(profile_mismatches(Profile::Single, &dev).len(), 2);
        assert_eq!(profile_mismatches(Profile::Cluster, &dev).len(), 2);
        let safe = ServerSettings {
            appendonly: Some(true),
            appendfsync: Some("always".into()),
            replicas: Some(1),
            ..dev.clone()
        };
        for profile in [Profile::Dev, Profile::Single, Profile::Cluster] {
            assert!(profile_mismatches(profile, &safe).is_empty() && profile_unknowns(profile, &safe).is_empty());
        }
        let closed = ServerSettings { appendonly: None, appendfsync: None, replicas: None, ..dev };
        assert!(profile_mismatches(Profile::Single, &closed).is_empty());
        assert_eq!(profile_unknowns(Profile::Single, &closed).len(), 2);
    }
}
