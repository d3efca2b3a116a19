//! Every call is an event: one middleware tells them all, after what they did is on disk and before they
//! are answered. And what kinds of events there are.

use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::body::{BoxBody, MessageBody, to_bytes_limited};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, ResponseError as _, get, web};
use bytes::Bytes;
use serde_json::{Value, json};
use shared::events::mask::{HIDDEN, masked};
use shared::events::schema::{EVENT_TYPES, asyncapi, event_type};
use shared::events::{Actor, ApiBody, Body, Draft, Parameter};
use shared::wire::subject::EventSubject;

use super::page::Listing;
use super::query::Parameters;
use super::{ApiDeps, ApiError, MAX_BODY, MAX_ITEM};

/// Who offers the calls.
const NAMESPACE: &str = "flowhook";

/// Bytes of an answer that its event repeats at most.
const MAX_ANSWER: usize = 64 * 1024;

/// Calls that machines make all the time and that say nothing.
const UNTOLD: [&str; 3] = ["health", "openapi.json", "schemas"];

/// Where items are published, which may be larger than other bodies.
const ITEMS: &str = "/pubsub/items";

/// Header of the id that a call's event, answer and log lines share.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Header with how many hooks stand between the call and what people did.
const DEPTH: &str = "x-flowhook-depth";

/// A call that is under way, for the events of what it changes.
struct UnderWay {
    /// The id that answer and log lines share with its event.
    id: String,
    /// The id of its event.
    event: String,
    given: Bytes,
}

/// The id that the event of this call has.
pub fn id_of(request: &HttpRequest) -> Option<String> {
    request.extensions().get::<UnderWay>().map(|call| call.id.clone())
}

/// What is told of this call where its process is killed before it is answered, although what it changes is
/// in force: that it was done, with 0 for the status.
pub fn unanswered(deps: &ApiDeps, request: &HttpRequest) -> Option<Draft> {
    let named = call(request)?;
    let extensions = request.extensions();
    let UnderWay { id, event, given } = extensions.get::<UnderWay>()?;
    Some(draft(deps, request, &named, id, given, (true, 0), Value::Null).with_id(event.clone()))
}

/// What a call is.
struct Call {
    object: String,
    verb: String,
}

/// Tells a call as an event.
pub async fn tell(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let deps = request.app_data::<web::Data<ApiDeps>>().cloned();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let wanted = deps.filter(|deps| !reads || deps.events.config().reads);
    let Some(deps) = wanted else { return Ok(next.call(request).await?.map_into_boxed_body()) };
    let id = request_id(&request, &deps.node);
    let event = deps.events.new_id();
    let (given, refused) = match reads {
        true => (Bytes::new(), None),
        false => {
            let most = if request.path().ends_with(ITEMS) { MAX_ITEM } else { MAX_BODY };
            match request.extract::<web::Payload>().await?.to_bytes_limited(most).await {
                Ok(body) => {
                    let body = body?;
                    request.set_payload(payload(body.clone()));
                    (body, None)
                }
                Err(_) => {
                    let message = format!("a body of more than {most} bytes");
                    (Bytes::new(), Some(ApiError::too_large("body", message).error_response()))
                }
            }
        }
    };
    let under_way = UnderWay { id: id.clone(), event: event.clone(), given: given.clone() };
    request.extensions_mut().insert(under_way);
    let mut response = match refused {
        Some(refused) => request.into_response(refused),
        None => next.call(request).await?.map_into_boxed_body(),
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let Some(call) = call(response.request()) else { return Ok(response) };
    let status = response.status();
    let success = status.is_success();
    let (answer, response) = match reads {
        true => (Value::Null, response),
        false => answer(response).await,
    };
    let draft = draft(&deps, response.request(), &call, &id, &given, (success, status.as_u16()), answer);
    let draft = draft.with_id(event);
    match reads {
        // Nothing has changed: nobody need wait for it.
        true => deps.events.tell(draft),
        false => {
            if let Err(error) = deps.events.record(vec![draft]).await {
                tracing::error!(%error, request = id, "an answered call has no event");
            }
        }
    }
    Ok(response)
}

/// The id that came with the call, or one of our own.
fn request_id(request: &ServiceRequest, node: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let fits = |id: &&str| !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic());
    match given.filter(fits) {
        Some(id) => id.to_owned(),
        None => {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            format!("{node}-{:x}-{number}", std::process::id())
        }
    }
}

/// A body that was read, to be read again.
fn payload(body: Bytes) -> Payload {
    Payload::Stream { payload: Box::pin(futures::stream::once(async move { Ok(body) })) }
}

/// The answer as JSON, beside the response with it.
async fn answer(response: ServiceResponse<BoxBody>) -> (Value, ServiceResponse<BoxBody>) {
    let (request, response) = response.into_parts();
    let (response, body) = response.into_parts();
    // Answers of calls that change something are small; none comes in parts.
    let bytes = match to_bytes_limited(body, usize::MAX).await {
        Ok(Ok(bytes)) => bytes,
        _ => Bytes::new(),
    };
    let value = match bytes.len() {
        0..=MAX_ANSWER => serde_json::from_slice(&bytes).unwrap_or_default(),
        size => json!(format!("{size} bytes, left out")),
    };
    (value, ServiceResponse::new(request, response.set_body(BoxBody::new(bytes))))
}

/// What a request was, by the pattern of its route; nothing for what is not told.
fn call(request: &HttpRequest) -> Option<Call> {
    let pattern = request.match_pattern()?;
    let pattern = pattern.strip_prefix("/api/v1/")?;
    let mut parts: Vec<&str> = pattern.split('/').collect();
    if UNTOLD.contains(parts.first()?) {
        return None;
    }
    let object = match parts.as_slice() {
        ["settings", ..] => request.match_info().get("kind").unwrap_or("setting").to_owned(),
        ["pubsub", "items", ..] => "items".to_owned(),
        ["pubsub", what, ..] => format!("pubsub_{what}"),
        [first, ..] => (*first).to_owned(),
        [] => return None,
    };
    if parts.first() == Some(&"pubsub") {
        parts.remove(0);
    }
    // An action may be a part of the path that the route has a name for.
    let action = request.match_info().get("action");
    let words: Vec<&str> = parts.iter().skip(1).filter(|part| !part.starts_with('{')).copied().collect();
    let words: Vec<&str> = words.into_iter().chain(action).collect();
    let one = parts.iter().any(|part| part.starts_with('{'));
    let verb = match (request.method().as_str(), words.as_slice()) {
        ("GET" | "HEAD", []) => {
            if one && parts.first() != Some(&"settings") || parts.len() > 2 { "show" } else { "list" }
                .to_owned()
        }
        ("POST", []) => if object == "items" { "publish" } else { "create" }.to_owned(),
        ("PUT", []) => "update".to_owned(),
        ("DELETE", []) => "delete".to_owned(),
        ("DELETE", words) => format!("delete_{}", words.join("_")),
        (_, words) => words.join("_"),
    };
    Some(Call { object: singular(&object), verb })
}

fn singular(word: &str) -> String {
    match word {
        "series" => word.to_owned(),
        _ => word.strip_suffix('s').unwrap_or(word).to_owned(),
    }
}

/// Bytes of a body that an event tells; an event has to fit into a message with all else.
const MAX_TOLD: usize = 256 * 1024;

/// A body without the values of endpoints' and recipients' parameters: a wrong call may have a secret
/// under any key.
pub fn without_parameters(body: Value) -> Value {
    match body {
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| match (key.as_str(), value) {
                ("params", Value::Object(params)) => {
                    let hidden = params.into_iter().map(|(name, _)| (name, Value::from(HIDDEN)));
                    (key, Value::Object(hidden.collect()))
                }
                (_, value) => (key, without_parameters(value)),
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(without_parameters).collect(),
        other => other,
    }
}

fn draft(
    deps: &ApiDeps,
    request: &HttpRequest,
    call: &Call,
    id: &str,
    given: &[u8],
    (success, code): (bool, u16),
    answer: Value,
) -> Draft {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let query = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    let query = query.map(web::Query::into_inner).unwrap_or_default();
    let user = query.iter().find(|(name, _)| name == "by").map(|(_, by)| by.clone());
    let user = deps.user(request).or(user).unwrap_or_default();
    let mut named = vec![("session".to_owned(), json!(HIDDEN))];
    named.extend(request.match_info().iter().map(|(name, value)| (name.to_owned(), json!(value))));
    let fields: serde_json::Map<String, Value> =
        query.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    if let Value::Object(fields) = masked(Value::Object(fields)) {
        named.extend(fields);
    }
    if !given.is_empty() {
        let body = match given.len() > MAX_TOLD {
            true => json!(format!("{} bytes, left out", given.len())),
            false => serde_json::from_slice(given).unwrap_or_else(|_| json!("no JSON, left out")),
        };
        named.push(("body".to_owned(), masked(without_parameters(body))));
    }
    let numbered = |named: Vec<(String, Value)>| {
        let parameter = |(place, (name, value)): (usize, (String, Value))| Parameter {
            pos: u32::try_from(place + 1).unwrap_or(u32::MAX),
            name,
            value,
        };
        named.into_iter().enumerate().map(parameter).collect::<Vec<_>>()
    };
    let answer = masked(answer);
    let out = [("success", json!(success)), ("answer", answer.clone()), ("status", json!(code))];
    let ns = NAMESPACE.to_owned();
    let body = ApiBody {
        call: format!("{ns}.{}.{}", call.object, call.verb),
        success,
        code,
        request_id: id.to_owned(),
        actor: Actor { user, via: header("x-flowhook-client").unwrap_or("rest").to_owned() },
        given: numbered(named),
        answered: numbered(out.map(|(name, value)| (name.to_owned(), value)).to_vec()),
        extra: (success && answer.is_object()).then_some(answer),
    };
    let subject = EventSubject::Api { ns, object: call.object.clone(), verb: call.verb.clone(), success };
    let traceparent = header("traceparent").map(str::to_owned);
    Draft { depth: depth(request), traceparent, ..Draft::new(subject, Body::Api(body)) }
}

/// How many hooks stand between a request and what people did.
pub fn depth(request: &HttpRequest) -> u32 {
    let given = request.headers().get(DEPTH).and_then(|value| value.to_str().ok());
    given.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A kind of event.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct EventKindInfo {
    /// The second token of its subjects.
    kind: &'static str,
    /// Its subjects, words in braces standing for tokens.
    subject: &'static str,
    /// A filter of all of them.
    filter: &'static str,
    /// What it tells.
    summary: &'static str,
}

/// Kinds of events, with their subjects.
#[utoipa::path(get, path = "/api/v1/events/types", responses((status = 200, body = Listing<EventKindInfo>)))]
#[get("/events/types")]
pub async fn types(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let info = EVENT_TYPES.iter().map(|known| EventKindInfo {
        kind: known.kind,
        subject: known.subject,
        filter: known.filter,
        summary: known.summary,
    });
    Ok(HttpResponse::Ok().json(Listing { items: info.collect(), next: None, missing: Vec::new() }))
}

/// The JSON Schema of a kind's data, or with kind `asyncapi` the AsyncAPI document of all.
#[utoipa::path(get, path = "/api/v1/events/schema/{event}", params(("event" = String, Path)),
    responses((status = 200, body = Value), (status = 404, body = super::error::ErrorBody)))]
#[get("/events/schema/{event}")]
pub async fn schema(event: web::Path<String>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let found = match event.as_str() {
        "asyncapi" => Some(asyncapi()),
        kind => event_type(kind).map(|known| (known.schema)()),
    };
    let kinds = || EVENT_TYPES.iter().map(|known| known.kind).collect::<Vec<_>>().join(", ");
    let none = || ApiError::not_found(format!("there are no events '{event}', only {}", kinds()));
    Ok(HttpResponse::Ok().json(found.ok_or_else(none)?))
}

/// Events on record, oldest first.
#[utoipa::path(get, path = "/api/v1/events",
    params(("since" = Option<String>, Query, description = "Not before this time (RFC 3339)"),
           ("until" = Option<String>, Query, description = "Before this time"),
           ("filter" = Option<String>, Query, description = "Filter of subjects"),
           ("after" = Option<u64>, Query, description = "`next` of the page before"),
           ("limit" = Option<usize>, Query, description = "Events looked at: 100, up to 500")),
    responses((status = 200, body = Value), (status = 503, body = super::error::ErrorBody)))]
#[get("/events")]
pub async fn recorded(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let asked = Parameters::read(&request, &["since", "until", "filter", "after", "limit"])?;
    let question = json!({
        "since": super::query::time(&asked, "since", &deps)?,
        "until": super::query::time(&asked, "until", &deps)?,
        "filter": asked.text("filter"),
        "after": asked.parsed::<u64>("after")?.unwrap_or(0),
        "limit": asked.parsed::<usize>("limit")?,
    });
    Ok(HttpResponse::Ok().json(super::hooks::ask(&deps, "hook_events", question).await?))
}
