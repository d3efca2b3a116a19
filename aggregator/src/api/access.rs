//! Who may do what takes a right of its own.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use super::query::Parameters;
use super::{ApiDeps, ApiError};
use crate::config::{ApiRole, ApiToken};

/// Compares without telling by the time it takes where the two differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

impl ApiDeps {
    /// The token that came with a request, when it is one of the configuration's.
    fn token(&self, request: &HttpRequest) -> Option<&ApiToken> {
        let given = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
        let given = given.strip_prefix("Bearer ")?.trim();
        self.tokens.iter().find(|token| {
            token.secret().is_ok_and(|secret| same(secret.reveal().as_bytes(), given.as_bytes()))
        })
    }

    /// The name of who asks, where a token proves it.
    pub fn user(&self, request: &HttpRequest) -> Option<String> {
        self.token(request).map(|token| token.name.clone())
    }

    /// Makes sure that who asks has a role.
    ///
    /// # Errors
    /// Says which role is missing.
    pub fn demand(&self, request: &HttpRequest, role: ApiRole, what: &str) -> Result<(), ApiError> {
        match self.token(request).is_some_and(|token| token.roles.contains(&role)) {
            true => Ok(()),
            false => Err(ApiError::forbidden(format!(
                "{what} takes a token with role {} (aggregator.api.token)",
                role.name()
            ))),
        }
    }
}

/// Makes sure that who asks may have a hook run or not, and tells who that is: whatever runs processes
/// takes the same right as making it does.
pub async fn may_run(
    deps: &ApiDeps,
    request: &HttpRequest,
    name: &str,
    asked: &Parameters,
) -> Result<String, ApiError> {
    if super::hooks::find(deps, name).await?.is_some_and(|entry| entry.hook.kind.is_process()) {
        deps.demand(request, ApiRole::ProcessHooks, "a hook that runs a process")?;
    }
    Ok(deps.user(request).or(asked.text("by")).unwrap_or_else(|| "api".to_owned()))
}
