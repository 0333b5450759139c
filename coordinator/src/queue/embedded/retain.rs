//! Drops messages of the log that are too old, a few with each transaction. The newest of a partition always stays, so that its
//! tail never falls behind a cursor.

use parking_lot::Mutex;
use redb::ReadableTable;
use stepmill_protocol::{Millis, PartitionNo, Timestamp};

use super::hot::oldest;
use super::row;
use crate::store::embedded::{Tables, key};

/// How often to look.
const EVERY: Millis = Millis(1_000);
/// Messages dropped with one transaction.
const BITE: usize = 256;

pub(super) struct Retention {
    age_max: Millis,
    looked: Mutex<Timestamp>,
}

impl Retention {
    pub(super) fn new(age_max: Millis) -> Self {
        Self { age_max, looked: Mutex::default() }
    }

    /// Drops some; looks again at once while there is more.
    pub(super) fn drop_old(&self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        let mut looked = self.looked.lock();
        if tables.now.since(*looked).0 < EVERY.0 {
            return Ok(());
        }
        let mut left = BITE;
        let mut next = Some(PartitionNo(0));
        while let Some(from) = next
            && left > 0
        {
            let found = tables.log.range::<&[u8; 10]>(&key::log(from, 0)..)?.next().transpose()?;
            let Some(partition) = found.map(|(key, _)| key::partition_of(key.value())) else { break };
            left -= self.drop_of(tables, partition, left)?;
            next = partition.0.checked_add(1).map(PartitionNo);
        }
        if left > 0 {
            *looked = tables.now;
        }
        Ok(())
    }

    fn drop_of(&self, tables: &mut Tables<'_>, partition: PartitionNo, limit: usize) -> Result<usize, redb::Error> {
        let before = oldest(tables.now, self.age_max);
        let (first, last) = (key::log(partition, 0), key::log(partition, u64::MAX));
        let mut old = Vec::new();
        {
            // A message is dropped only when another one follows it.
            let mut rows = tables.log.range::<&[u8; 10]>(&first..=&last)?;
            let mut row = rows.next().transpose()?;
            while let Some((key, value)) = row {
                row = rows.next().transpose()?;
                if old.len() == limit || row.is_none() || row::time(value.value()) >= before {
                    break;
                }
                old.push((*key.value(), row::run(value.value()), row::is_snapshot(value.value())));
            }
        }
        for (key, run, is_snapshot) in &old {
            let seq = key::seq_of(key);
            tables.log.remove(key)?;
            if *is_snapshot {
                let pointer = key::misc::snapshot(partition, *run);
                let newest = tables.misc.get(pointer.as_slice())?.map(|row| row.value() == seq.to_be_bytes());
                if newest == Some(true) {
                    tables.misc.remove(pointer.as_slice())?;
                }
            } else {
                tables.history.remove(&key::history(*run, seq))?;
            }
        }
        Ok(old.len())
    }
}
