//! The scripts that run inside the server, and the batch of guarded writes that most of them are asked for.

use std::sync::LazyLock;

use redis::{Cmd, Script};

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(include_str!(concat!("script/", $file))));
    };
}

script!(COMMIT, "commit.lua");
script!(ACQUIRE, "acquire.lua");
script!(BEAT, "beat.lua");
script!(DEFINE, "define.lua");
script!(LIST, "list.lua");
script!(TRIM, "trim.lua");

/// Every script, to be loaded into a server that does not know one of them.
pub(super) fn all() -> [&'static Script; 6] {
    [&COMMIT, &ACQUIRE, &BEAT, &DEFINE, &LIST, &TRIM]
}

/// Arguments of one operation at most: Lua's stack holds 8,000 values.
const OPERATION_ARGS_MAX: usize = 4_000;

/// Calls a script by its hash.
pub(super) fn call(script: &Script, keys: &[String]) -> Cmd {
    let mut cmd = redis::cmd("EVALSHA");
    cmd.arg(script.get_hash()).arg(keys.len()).arg(keys);
    cmd
}

/// Texts and bytes, one after the other.
#[derive(Default)]
pub(super) struct Args {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Args {
    pub(super) fn push(&mut self, arg: &[u8]) {
        self.bytes.extend_from_slice(arg);
        self.ends.push(self.bytes.len());
    }

    pub(super) fn push_number(&mut self, n: u64) {
        self.push(n.to_string().as_bytes());
    }

    pub(super) fn append_to(&self, cmd: &mut Cmd) {
        let mut start = 0;
        for end in &self.ends {
            cmd.arg(&self.bytes[start..*end]);
            start = *end;
        }
    }
}

/// Which of a batch's keys an operation is about.
#[derive(Clone, Copy)]
pub(super) struct KeyNo(usize);

/// Writes of one partition that `commit.lua` does all or not at all.
pub(super) struct Batch {
    compared: Vec<(&'static str, String)>,
    keys: Vec<String>,
    operations: Args,
}

impl Batch {
    /// The key of the record that comparisons are made with.
    pub(super) const RECORD: KeyNo = KeyNo(1);

    /// Everything is written only if these fields of `record` have these texts; one that is not there counts as `0`.
    pub(super) fn guarded(record: String, compared: Vec<(&'static str, String)>) -> Self {
        Self { compared, keys: vec![record], operations: Args::default() }
    }

    /// Declares a key. Declaring the same twice costs a little and does no harm.
    pub(super) fn key(&mut self, key: String) -> KeyNo {
        self.keys.push(key);
        KeyNo(self.keys.len())
    }

    /// Adds one command with few arguments.
    pub(super) fn put(&mut self, command: &str, key: KeyNo, args: &[&[u8]]) {
        debug_assert!(args.len() <= OPERATION_ARGS_MAX, "use `put_many`");
        self.operations.push(command.as_bytes());
        self.operations.push_number(key.0 as u64);
        self.operations.push_number(args.len() as u64);
        for arg in args {
            self.operations.push(arg);
        }
    }

    /// Adds a command that takes any number of groups of `N` arguments; split where Lua could not hold them.
    pub(super) fn put_many<const N: usize, A: AsRef<[u8]>>(&mut self, command: &str, key: KeyNo, groups: &[[A; N]]) {
        for chunk in groups.chunks(OPERATION_ARGS_MAX / N) {
            let args: Vec<&[u8]> = chunk.iter().flatten().map(AsRef::as_ref).collect();
            self.put(command, key, &args);
        }
    }

    /// Sets many keys, each without expiry, in one command.
    pub(super) fn set_all(&mut self, values: &[(KeyNo, &[u8])]) {
        for chunk in values.chunks(OPERATION_ARGS_MAX / 2) {
            self.operations.push(b"MSET");
            self.operations.push(b"0");
            self.operations.push_number(chunk.len() as u64 * 2);
            for (key, value) in chunk {
                self.operations.push_number(key.0 as u64);
                self.operations.push(value);
            }
        }
    }

    pub(super) fn into_command(self) -> Cmd {
        let mut cmd = call(&COMMIT, &self.keys);
        cmd.arg(self.compared.len());
        for (field, expected) in &self.compared {
            cmd.arg(field).arg(expected);
        }
        self.operations.append_to(&mut cmd);
        cmd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_ask_for_neither_time_nor_chance() {
        for code in [
            include_str!("script/commit.lua"),
            include_str!("script/acquire.lua"),
            include_str!("script/beat.lua"),
            include_str!("script/define.lua"),
            include_str!("script/list.lua"),
            include_str!("script/trim.lua"),
        ] {
            for banned in ["'TIME'", "random", "os.", "cjson", "redis.pcall", "'KEYS'"] {
                assert!(!code.contains(banned), "{banned}");
            }
            assert!(code.starts_with("-- ") && code.contains("KEYS") && code.contains("answers"));
        }
    }

    #[test]
    fn many_arguments_become_several_operations() {
        let mut batch = Batch::guarded("r".into(), vec![("epoch", "1".into())]);
        let key = batch.key("z".into());
        batch.put_many("ZADD", key, &vec![["1", "m"]; 5_000]);
        let args = batch.into_command().args_iter().count();
        // EVALSHA hash 2 r z, 1 epoch 1, then 3 operations of 2,000, 2,000 and 1,000 pairs.
        assert_eq!(args, 5 + 3 + 3 * 3 + 10_000);
    }
}
