//! URI templates (RFC 6570, level 1): `{name}` stands for a field of the input, percent-encoded.

use super::syntax::ExpressionMistake;

/// The expression that fills a template; none where it has no places to fill.
pub(super) fn expression_of(template: &str) -> Result<Option<String>, ExpressionMistake> {
    if !template.contains(['{', '}']) {
        return Ok(None);
    }
    let wrong = |message: String, help: &str| ExpressionMistake {
        code: "uri",
        message,
        help: help.into(),
        span: (0, template.len()),
    };
    let mut parts = Vec::new();
    let mut rest = template;
    let mut is_path = true;
    while let Some((literal, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return Err(wrong(
                "a `{` in the URI is not closed".into(),
                "write `{name}`, or `%7B` for the character itself",
            ));
        };
        if name.starts_with(['+', '#', '.', '/', ';', '?', '&', '=', ',', '!', '@', '|'])
            || name.contains([',', ':', '*'])
        {
            let message = format!("not supported yet: `{{{name}}}` in a URI");
            return Err(ExpressionMistake {
                code: "unsupported",
                ..wrong(message, "use `{name}`, or an expression `${ … }`")
            });
        }
        let fine = !name.is_empty()
            && name.split('.').all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        if !fine {
            return Err(wrong(
                format!("`{{{name}}}` in the URI is not a name"),
                "write the name of a field of the task's input",
            ));
        }
        if literal.contains('}') {
            break;
        }
        let path: String = name.split('.').map(|p| format!("[\"{p}\"]")).collect();
        is_path = is_path && !literal.contains(['?', '#']);
        let filter = if is_path { "__segment" } else { "__percent" };
        parts.push(quoted(literal));
        parts.push(format!("(.{path} | {filter}(\"{name}\"))"));
        rest = after;
    }
    if rest.contains(['{', '}']) {
        return Err(wrong("a `}` in the URI has no `{`".into(), "write `{name}`, or `%7D` for the character itself"));
    }
    parts.push(quoted(rest));
    Ok(Some(parts.join(" + ")))
}

fn quoted(literal: &str) -> String {
    serde_json::Value::from(literal).to_string()
}
