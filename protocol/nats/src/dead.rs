//! Dead letters: tasks and events that were given up, with the reason.

use stepmill_protocol::codec::pack;
use stepmill_protocol::{DeadLetter, PoolName};

use crate::connect::Nats;
use crate::error::NatsError;
use crate::publish::{Outgoing, Stored};
use crate::subject;

/// Stores a dead letter; `pool` is the pool whose task it was.
pub(crate) async fn store(nats: &Nats, pool: Option<&PoolName>, letter: &DeadLetter) -> Result<Stored, NatsError> {
    let payload = pack(letter).map_err(|e| NatsError::malformed("the dead letter", e.reason))?;
    nats.store(Outgoing::new(subject::dead(pool), payload)).await
}

impl Nats {
    /// Puts a task or an event of the log aside for a person; resolves when it is stored.
    ///
    /// # Errors
    /// [`NatsError`] when the broker did not confirm it.
    pub async fn bury(&self, letter: &DeadLetter) -> Result<Stored, NatsError> {
        store(self, letter.pool.as_ref(), letter).await
    }
}
