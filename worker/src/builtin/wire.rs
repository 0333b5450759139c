//! The HTTP client that the steps of a worker share, and sending with authentication.

use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Request, Response, StatusCode};
use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;

use super::auth::{self, Authentication, OAuth2, Tokens};
use crate::context::Context;
use crate::failure::Failure;
use crate::net::{self, Timeouts};

/// Connections and tokens of a worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Wire {
    client: Client,
    /// For connections that last.
    lasting: Client,
    tokens: Arc<Tokens>,
}

impl Wire {
    /// With these timeouts; a step's deadline, where it is nearer, ends a call too.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(timeouts: Timeouts) -> Result<Self, reqwest::Error> {
        Ok(Self { client: net::client(timeouts)?, lasting: net::lasting(timeouts)?, tokens: Arc::default() })
    }

    /// A client without a limit on how long a call may take.
    pub(super) const fn lasting(&self) -> &Client {
        &self.lasting
    }

    /// Sends a request as `auth` says. A request that was refused for want of credentials is sent a second time where there
    /// are new ones to show: it was not carried out.
    pub(super) async fn send(
        &self,
        ctx: &Context,
        mut request: Request,
        auth: Option<&Authentication>,
        what: &str,
    ) -> Result<Response, Failure> {
        let in_url = auth::login_in(request.url_mut());
        match auth {
            None => match in_url.filter(|_| !request.headers().contains_key(AUTHORIZATION)) {
                Some(login) => self.with(request, auth::basic(&login)?, what).await,
                None => self.execute(request, what).await,
            },
            Some(Authentication::Basic(login)) => self.with(request, auth::basic(login)?, what).await,
            Some(Authentication::Bearer(bearer)) => self.with(request, auth::bearer_header(&bearer.token)?, what).await,
            Some(Authentication::Digest(login)) => {
                let first = self.execute(copied(&request, what)?, what).await?;
                if first.status() != StatusCode::UNAUTHORIZED {
                    return Ok(first);
                }
                match auth::answer(first.headers(), &request, login) {
                    Some(answer) => self.with(request, answer?, what).await,
                    None => Ok(first),
                }
            }
            Some(Authentication::OAuth2(policy)) => self.with_token(ctx, request, policy, false, what).await,
            Some(Authentication::Oidc(policy)) => self.with_token(ctx, request, policy, true, what).await,
        }
    }

    /// The header that shows who calls, for a transport that sends requests itself, and whether it is worth while to ask for another
    /// one when it is refused: a token that was kept may have been withdrawn.
    pub(super) async fn credentials(
        &self,
        ctx: &Context,
        auth: &Authentication,
    ) -> Result<(HeaderValue, bool), Failure> {
        let shown = |got: auth::Got| Ok((auth::bearer_header(&got.token)?, got.kept));
        match auth {
            Authentication::Basic(login) => Ok((auth::basic(login)?, false)),
            Authentication::Bearer(bearer) => Ok((auth::bearer_header(&bearer.token)?, false)),
            Authentication::OAuth2(policy) => shown(self.token(ctx, policy, false).await?),
            Authentication::Oidc(policy) => shown(self.token(ctx, policy, true).await?),
            Authentication::Digest(_) => {
                let text = "digest authentication needs a challenge for each request, which this transport cannot answer; \
                            use another policy";
                Err(Failure::new(Problem::standard(Standard::Configuration, text), false))
            }
        }
    }

    /// Drops the token of a policy, so that the next call asks for a new one.
    pub(super) async fn refused(&self, auth: &Authentication, shown: &HeaderValue) {
        let (policy, discover) = match auth {
            Authentication::OAuth2(policy) => (policy, false),
            Authentication::Oidc(policy) => (policy, true),
            Authentication::Basic(_) | Authentication::Bearer(_) | Authentication::Digest(_) => return,
        };
        if let Some(token) = shown.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")) {
            self.tokens.forget(policy, discover, token).await;
        }
    }

    async fn with_token(
        &self,
        ctx: &Context,
        request: Request,
        policy: &OAuth2,
        discover: bool,
        what: &str,
    ) -> Result<Response, Failure> {
        let got = self.token(ctx, policy, discover).await?;
        let first = self.with(copied(&request, what)?, auth::bearer_header(&got.token)?, what).await?;
        if first.status() != StatusCode::UNAUTHORIZED {
            return Ok(first);
        }
        self.tokens.forget(policy, discover, &got.token).await;
        if !got.kept {
            return Ok(first);
        }
        // A token that was kept may have been withdrawn meanwhile.
        let got = self.token(ctx, policy, discover).await?;
        self.with(request, auth::bearer_header(&got.token)?, what).await
    }

    async fn token(&self, ctx: &Context, policy: &OAuth2, discover: bool) -> Result<auth::Got, Failure> {
        let got = self.tokens.get(&self.client, policy, discover).await?;
        ctx.keep_secret("access token", &got.token);
        Ok(got)
    }

    async fn with(&self, mut request: Request, credentials: HeaderValue, what: &str) -> Result<Response, Failure> {
        request.headers_mut().insert(AUTHORIZATION, credentials);
        self.execute(request, what).await
    }

    async fn execute(&self, request: Request, what: &str) -> Result<Response, Failure> {
        self.client.execute(request).await.map_err(|e| net::broken(what, e))
    }
}

fn copied(request: &Request, what: &str) -> Result<Request, Failure> {
    request.try_clone().ok_or_else(|| {
        let text = format!("{what}: the request's body cannot be sent twice");
        Failure::new(Problem::standard(Standard::Configuration, text), false)
    })
}
