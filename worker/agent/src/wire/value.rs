//! Reading values that may lack anything.

use serde_json::Value;

/// The text at a JSON pointer.
pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer)?.as_str()
}

/// The text at a JSON pointer; empty where there is none.
pub(super) fn text_or_empty(value: &Value, pointer: &str) -> String {
    text(value, pointer).unwrap_or_default().to_owned()
}

/// The number at a JSON pointer; 0 where there is none.
pub(super) fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// The items of the list at a JSON pointer; none where there is no list.
pub(super) fn items<'v>(value: &'v Value, pointer: &str) -> std::slice::Iter<'v, Value> {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[][..], Vec::as_slice).iter()
}
