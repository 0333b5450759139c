//! A connection that comes back by itself, and loads scripts into a server that has lost them.

use std::time::Duration;

use parking_lot::RwLock;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{Client, Cmd, FromRedisValue, IntoConnectionInfo, Pipeline, RedisError, RedisResult};

use super::error::{is_unknown_script, translate, wants_new_connection};
use super::script;
use crate::port::store::StoreError;

/// The longest pause between two tries to reach the server again.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_millis(500);
/// Tries before waiting callers are told that the server cannot be reached; with the next call it begins anew.
const RECONNECT_TRIES: usize = 5;

/// One connection, shared by all callers: their commands travel in one pipeline.
pub(super) struct Connection {
    client: Client,
    config: ConnectionManagerConfig,
    current: RwLock<ConnectionManager>,
    /// The longest that a caller waits, however often the connection is lost meanwhile.
    patience: Duration,
}

impl Connection {
    pub(super) async fn open(url: &str, connect: Duration, response: Duration) -> Result<Self, StoreError> {
        let tcp = TcpSettings::default().set_nodelay(true);
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(response * 2);
        let info = url.into_connection_info().map_err(|e| translate(&e))?.set_tcp_settings(tcp);
        let client = Client::open(info).map_err(|e| translate(&e))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(connect))
            .set_response_timeout(Some(response))
            .set_max_delay(RECONNECT_PAUSE_MAX)
            .set_number_of_retries(RECONNECT_TRIES);
        let manager =
            ConnectionManager::new_with_config(client.clone(), config.clone()).await.map_err(|e| translate(&e))?;
        Ok(Self { client, config, current: RwLock::new(manager), patience: connect + response })
    }

    /// Sends one command.
    pub(super) async fn command<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, StoreError> {
        let mut to = self.manager();
        self.in_time(async {
            match cmd.query_async(&mut to).await {
                Err(e) if is_unknown_script(&e) => {
                    load_scripts(&mut to).await?;
                    cmd.query_async(&mut to).await
                }
                answer => answer,
            }
        })
        .await
    }

    /// The server's time in milliseconds, by which keys expire.
    pub(super) async fn now(&self) -> Result<u64, StoreError> {
        let (seconds, micros): (u64, u64) = self.command(&redis::cmd("TIME")).await?;
        Ok(seconds * 1_000 + micros / 1_000)
    }

    /// Sends several commands in one go. They must bear being done twice: when a script is unknown, all are sent again.
    pub(super) async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, StoreError> {
        let mut to = self.manager();
        self.in_time(async {
            match pipeline.query_async(&mut to).await {
                Err(e) if is_unknown_script(&e) => {
                    load_scripts(&mut to).await?;
                    pipeline.query_async(&mut to).await
                }
                answer => answer,
            }
        })
        .await
    }

    /// Reads a whole hash piece by piece, so that a large one does not hold up the server. Fields may come twice.
    pub(super) async fn hash(
        &self,
        key: &str,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError> + Send,
    ) -> Result<(), StoreError> {
        let mut cursor = 0u64;
        loop {
            let mut cmd = redis::cmd("HSCAN");
            cmd.arg(key).arg(cursor).arg("COUNT").arg(SCAN_COUNT);
            let (next, pairs): (u64, Vec<Vec<u8>>) = self.command(&cmd).await?;
            for pair in pairs.chunks_exact(2) {
                each(&pair[0], &pair[1])?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    fn manager(&self) -> ConnectionManager {
        self.current.read().clone()
    }

    /// The library limits each try to connect and each answer, but not the tries together.
    async fn in_time<T>(&self, answer: impl Future<Output = RedisResult<T>>) -> Result<T, StoreError> {
        match tokio::time::timeout(self.patience, answer).await {
            Ok(answer) => answer.map_err(|e| self.failed(&e)),
            Err(_) => Err(StoreError::Unavailable(format!(
                "no connection to Redis within {:?}; check that the server runs and can be reached, it is tried again",
                self.patience
            ))),
        }
    }

    fn failed(&self, e: &RedisError) -> StoreError {
        if wants_new_connection(e)
            && let Ok(fresh) = ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone())
        {
            *self.current.write() = fresh;
        }
        translate(e)
    }
}

/// Entries that one step of a scan looks at.
pub(super) const SCAN_COUNT: usize = 1_000;

async fn load_scripts(to: &mut ConnectionManager) -> RedisResult<()> {
    for script in script::all() {
        script.load_async(to).await?;
    }
    Ok(())
}
