//! Digest authentication (RFC 7616): the answer to a challenge.

use http_auth::{DigestClient, PasswordParams, parse_challenges};
use reqwest::Request;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;

use super::{Login, header, values};
use crate::failure::Failure;

/// The header that answers the challenge of a refusal; none where there is no challenge that can be answered.
pub(in crate::builtin) fn answer(
    refusal: &HeaderMap,
    request: &Request,
    login: &Login,
) -> Option<Result<HeaderValue, Failure>> {
    let mut client = values(refusal, &WWW_AUTHENTICATE).find_map(challenge)?;
    let url = request.url();
    let uri = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let body = request.body().map_or(Some(&[][..]), |body| body.as_bytes());
    let answer = client.respond(&PasswordParams {
        username: &login.username,
        password: &login.password,
        uri: &uri,
        method: request.method().as_str(),
        body,
    });
    Some(match answer {
        Ok(text) => header(&text),
        Err(why) => {
            let text = format!("the server's digest challenge cannot be answered: {why}");
            Err(Failure::new(Problem::standard(Standard::Authentication, text), false))
        }
    })
}

/// The first digest challenge of a header whose algorithm is known.
fn challenge(text: &str) -> Option<DigestClient> {
    let challenges = parse_challenges(text).ok()?;
    challenges
        .iter()
        .filter(|challenge| challenge.scheme.eq_ignore_ascii_case("digest"))
        .find_map(|challenge| DigestClient::try_from(challenge).ok())
}
