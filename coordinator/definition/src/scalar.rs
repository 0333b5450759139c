//! Plain scalars of YAML 1.2: what is null, a boolean, a number or text.

use serde_json::Number;

use crate::tree::Kind;

/// A plain scalar by YAML's core schema.
pub(crate) fn resolve(text: &str) -> Result<Kind, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Kind::Null),
        "true" | "True" | "TRUE" => return Ok(Kind::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Kind::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let number = if digits(unsigned) {
        text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok()
    } else if let Some(hex) =
        text.strip_prefix("0x").filter(|h| !h.is_empty() && h.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        u64::from_str_radix(hex, 16).map(Number::from).ok()
    } else if let Some(oct) =
        text.strip_prefix("0o").filter(|o| !o.is_empty() && o.bytes().all(|b| (b'0'..=b'7').contains(&b)))
    {
        u64::from_str_radix(oct, 8).map(Number::from).ok()
    } else if is_float(unsigned) {
        text.parse::<f64>().ok().and_then(Number::from_f64)
    } else if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        None
    } else {
        return Ok(Kind::Text(text.into()));
    };
    number
        .map(Kind::Number)
        .ok_or_else(|| format!("the number {} cannot be kept exactly", text.chars().take(60).collect::<String>()))
}

/// `[0-9]*(\.[0-9]*)?([eE][-+]?[0-9]+)?` with at least one digit before the exponent.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((m, e)) => (m, Some(e.strip_prefix(['-', '+']).unwrap_or(e))),
        None => (text, None),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    digits(whole)
        && digits(part)
        && !(whole.is_empty() && part.is_empty())
        && exponent.is_none_or(|e| !e.is_empty() && digits(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> String {
        match resolve(text) {
            Ok(Kind::Null) => "null".into(),
            Ok(Kind::Bool(b)) => b.to_string(),
            Ok(Kind::Number(n)) => n.to_string(),
            Ok(Kind::Text(t)) => format!("'{t}'"),
            Ok(Kind::List(_) | Kind::Map(_)) => "no scalar".into(),
            Err(_) => "refused".into(),
        }
    }

    #[test]
    fn the_core_schema_decides() {
        for (text, expected) in [
            ("", "null"),
            ("~", "null"),
            ("Null", "null"),
            ("true", "true"),
            ("yes", "'yes'"),
            ("on", "'on'"),
            ("007", "7"),
            ("-12", "-12"),
            ("+5", "5"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("1_000", "'1_000'"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("18446744073709551616", "refused"),
            ("1.5", "1.5"),
            (".5", "0.5"),
            ("1.", "1.0"),
            ("1e3", "1000.0"),
            ("1e999", "refused"),
            (".inf", "refused"),
            (".nan", "refused"),
            (".", "'.'"),
            ("e5", "'e5'"),
            ("1.0.3", "'1.0.3'"),
            ("-", "'-'"),
            ("0x", "'0x'"),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }
}
