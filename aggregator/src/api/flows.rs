//! Flows: ended ones from the store, live ones from the collectors.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, get, web};
use serde_json::Value;
use shared::model::query::{FlowQuery, Page};

use super::query::Parameters;
use super::{ApiDeps, ApiError};

/// How long a collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

const PARAMETERS: &[&str] = &["from", "to", "ifid", "host", "port", "l7", "limit", "cursor"];

fn read(parameters: &Parameters) -> Result<FlowQuery, ApiError> {
    Ok(FlowQuery {
        from: parameters.parsed("from")?,
        to: parameters.parsed("to")?,
        ifid: parameters.parsed("ifid")?,
        host: parameters.parsed("host")?,
        port: parameters.parsed("port")?,
        l7: parameters.text("l7"),
        after: None,
        limit: parameters.limit()?,
    })
}

/// Ended flows, newest first.
#[utoipa::path(get, path = "/api/v1/flows", params(
    ("from" = Option<String>, Query, description = "Last seen not before: RFC 3339 or epoch seconds"),
    ("to" = Option<String>, Query, description = "Last seen before"),
    ("ifid" = Option<u32>, Query, description = "On this interface"),
    ("host" = Option<String>, Query, description = "Client or server has this address"),
    ("port" = Option<u16>, Query, description = "Client or server has this port"),
    ("l7" = Option<String>, Query, description = "Layer-7 protocol"),
    ("limit" = Option<usize>, Query, description = "Rows of a page"),
    ("cursor" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = Page<Value>), (status = 400, body = super::error::ErrorBody)))]
#[get("/flows")]
pub async fn stored(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let parameters = Parameters::read(&request, PARAMETERS)?;
    let query = FlowQuery { after: parameters.parsed("cursor")?, ..read(&parameters)? };
    Ok(HttpResponse::Ok().json(deps.flows.flows(query).await?))
}

/// Live flows, by interface and age. A collector that does not answer is listed in `missing`.
#[utoipa::path(get, path = "/api/v1/flows/live", params(
    ("from" = Option<String>, Query, description = "Last seen not before: RFC 3339 or epoch seconds"),
    ("to" = Option<String>, Query, description = "Last seen before"),
    ("ifid" = Option<u32>, Query, description = "On this interface"),
    ("host" = Option<String>, Query, description = "Client or server has this address"),
    ("port" = Option<u16>, Query, description = "Client or server has this port"),
    ("l7" = Option<String>, Query, description = "Layer-7 protocol"),
    ("limit" = Option<usize>, Query, description = "Rows of a page"),
    ("cursor" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = Page<Value>), (status = 400, body = super::error::ErrorBody)))]
#[get("/flows/live")]
pub async fn live(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let parameters = Parameters::read(&request, PARAMETERS)?;
    let query = read(&parameters)?;
    let after = parameters.named("cursor", parse_cursor)?;
    let mut items: Vec<Value> = Vec::new();
    let mut missing = Vec::new();
    let mut next = None;
    for interface in deps.live.interfaces().await.rows {
        let ifid = interface.ifid;
        let skip =
            query.ifid.is_some_and(|wanted| wanted != ifid) || after.is_some_and(|(from, _)| ifid < from);
        if skip {
            continue;
        }
        let room = query.limit - items.len();
        if room == 0 {
            next = Some(format!("{ifid}/0"));
            break;
        }
        let from = after.filter(|(from, _)| *from == ifid).map(|(_, id)| id);
        let part = FlowQuery { ifid: Some(ifid), after: from, limit: room, ..query.clone() };
        match ask(&deps, &interface.node, &part).await {
            Some(page) => {
                items.extend(page.items);
                if let Some(id) = page.next {
                    next = Some(format!("{ifid}/{id}"));
                    break;
                }
            }
            None => missing.push(format!("{} on {}", interface.name, interface.node)),
        }
    }
    let mut answer = serde_json::json!({ "items": items, "missing": missing });
    if let Some(next) = next {
        answer["next"] = next.into();
    }
    Ok(HttpResponse::Ok().json(answer))
}

/// `ifid/flow id`.
fn parse_cursor(text: &str) -> Option<(u32, i64)> {
    let (ifid, id) = text.split_once('/')?;
    Some((ifid.parse().ok()?, id.parse().ok()?))
}

/// A collector's page; `None` when it does not answer, or not with one.
async fn ask(deps: &ApiDeps, node: &str, query: &FlowQuery) -> Option<Page<Value>> {
    let subject = deps.subjects.request(node, "flows");
    let question = serde_json::to_vec(query).ok()?;
    let answer = deps.bus.request(&subject, question.into(), PATIENCE).await.ok()?;
    serde_json::from_slice(&answer).ok()
}
