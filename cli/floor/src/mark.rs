//! What stands at the head of each payload: which run, and how many of its steps are done.

use bytes::{BufMut, Bytes, BytesMut};
use stepmill_protocol::RunId;
use uuid::Uuid;

use crate::error::FloorError;

/// The head of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// One number for all runs of one load.
    pub(crate) load: u64,
    /// The run within the load.
    pub(crate) run: u32,
    /// How many of its steps were done when its present task was sent.
    pub(crate) done: u32,
}

const BYTES: usize = 16;

impl Mark {
    /// A payload with this head, and `rest` behind it.
    pub(crate) fn payload(self, rest: &[u8]) -> Bytes {
        let mut bytes = BytesMut::with_capacity(BYTES + rest.len());
        bytes.put_u64(self.load);
        bytes.put_u32(self.run);
        bytes.put_u32(self.done);
        bytes.put_slice(rest);
        bytes.freeze()
    }

    /// Reads the head.
    pub(crate) fn of(payload: &[u8]) -> Result<Self, FloorError> {
        let foreign = || FloorError::Foreign(format!("{} bytes without a head", payload.len()));
        let (load, rest) = payload.split_first_chunk().ok_or_else(foreign)?;
        let (run, rest) = rest.split_first_chunk().ok_or_else(foreign)?;
        let (done, _) = rest.split_first_chunk().ok_or_else(foreign)?;
        Ok(Self { load: u64::from_be_bytes(*load), run: u32::from_be_bytes(*run), done: u32::from_be_bytes(*done) })
    }

    /// The id that the run would have in the product.
    pub(crate) fn run_id(self) -> RunId {
        RunId(Uuid::from_u64_pair(self.load, u64::from(self.run)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back() {
        let mark = Mark { load: 7, run: 3, done: 9 };
        assert_eq!(Mark::of(&mark.payload(b"rest")).unwrap(), mark);
        assert!(Mark::of(b"short").is_err());
    }
}
