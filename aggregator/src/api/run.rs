//! Calls a script on demand.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use shared::model::Granularity;
use shared::script::ScriptKind;
use shared::script::registry::ScriptInfo;
use shared::script::settings::Override;

use super::query::Parameters;
use super::{ApiDeps, ApiError};
use crate::partition::{RunAnswer, RunRequest};

/// For which elements the script is called, and by which hook. All is optional.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunBody {
    /// Elements: addresses, prefixes or hardware addresses of hosts, or identifying strings. All when empty.
    elements: Vec<String>,
    /// Hosts of this pool too.
    pool: Option<String>,
    /// At this site.
    site: Option<String>,
    /// On this interface.
    ifid: Option<u32>,
    /// The hook that is called: the script's shortest period when absent.
    hook: Option<String>,
}

/// What came of it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RunBodyAnswer {
    /// Key of the script.
    script: String,
    /// The hook that was called.
    hook: &'static str,
    #[serde(flatten)]
    answer: RunAnswer,
    /// Who did not answer.
    missing: Vec<String>,
}

/// How long an answer may take: a run keeps to its deadline, and may have to wait for one under way.
pub fn patience(run_deadline: Duration) -> Duration {
    run_deadline.saturating_mul(2).saturating_add(Duration::from_secs(2))
}

/// Calls an element script at once, with granularity `aperiodic`, also when it is off. The answer tells of
/// each call what it asked for; all of that is carried out as in any other run.
#[utoipa::path(post, path = "/api/v1/scripts/{key}/run", params(("key" = String, Path)),
    request_body = RunBody,
    responses((status = 200, body = RunBodyAnswer), (status = 400, body = super::error::ErrorBody),
              (status = 404, body = super::error::ErrorBody)))]
#[post("/scripts/{key}/run")]
pub async fn run(
    deps: web::Data<ApiDeps>,
    key: web::Path<String>,
    body: web::Bytes,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let info = deps.scripts.info(&key);
    let info = info.ok_or_else(|| ApiError::not_found(format!("there is no script '{key}'")))?;
    let body: RunBody = match body.is_empty() {
        true => RunBody::default(),
        false => serde_json::from_slice(&body).map_err(|e| ApiError::bad_field("body", e.to_string()))?,
    };
    let hook = hook(&info, body.hook.as_deref())?;
    let element = |element| Override { element: Some(element), ..Override::default() };
    let mut only: Vec<Override> = body.elements.into_iter().map(element).collect();
    only.extend(body.pool.map(|pool| Override { pool: Some(pool), ..Override::default() }));
    let monitored = info.kind == ScriptKind::ActiveMonitoring.name();
    let request = RunRequest { key: info.key.clone(), hook, only, site: body.site, ifid: body.ifid };
    let (answer, missing) = deps.live.run(request, monitored, deps.run_patience).await;
    let answer = RunBodyAnswer { script: info.key, hook: hook.name(), answer, missing };
    Ok(HttpResponse::Ok().json(answer))
}

/// The hook that is meant.
fn hook(info: &ScriptInfo, wanted: Option<&str>) -> Result<Granularity, ApiError> {
    let has = |period: &Granularity| info.hooks.contains_key(period.name());
    let cause = match wanted {
        None => match Granularity::PERIODS.into_iter().find(has) {
            Some(hook) => return Ok(hook),
            None => format!(
                "'{}' is a script of kind {}: it is called when something happens",
                info.key, info.kind
            ),
        },
        Some(name) => match Granularity::parse(name).filter(has) {
            Some(hook) => return Ok(hook),
            None => format!("'{}' has no hook '{name}'", info.key),
        },
    };
    Err(ApiError::bad_field("hook", cause))
}
