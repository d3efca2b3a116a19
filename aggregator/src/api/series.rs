//! Time series, and the elements that counted most.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::Serialize;
use shared::model::packed::Packed;
use shared::model::{
    Entity, Granularity, HostCounters, InterfaceCounters, NetworkCounters, SystemCounters, Timestamp,
};
use shared::store::series::{MAX_POINTS, Point, Series, SeriesQuery, TopQuery};

use super::query::Parameters;
use super::{ApiDeps, ApiError};
use crate::element::Counters;

/// Points of a series when nothing is said.
const POINTS: usize = 1500;

/// One element's windows.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SeriesRow {
    /// Site.
    site: String,
    /// Interface id.
    ifid: u32,
    /// The windows, oldest first; one in which nothing was counted is left out.
    points: Vec<PointRow>,
}

/// One window.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PointRow {
    /// When it ended.
    #[schema(value_type = String)]
    at: Timestamp,
    /// What was counted in it, by name: counters of the element, `l7.<protocol>.flows` and `.bytes` and
    /// `batches.expected`, `.received` and `.missing` of an interface, `<script>.<name>` of scripts.
    values: BTreeMap<String, f64>,
}

/// The series of an element.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SeriesAnswer {
    /// Kind of element.
    #[schema(value_type = String)]
    entity: Entity,
    /// Its identifying string.
    value: String,
    /// Length of the windows: `min`, `5mins`, `hour` or `day`.
    period: &'static str,
    /// One for each interface that knows the element.
    items: Vec<SeriesRow>,
}

/// An element and what it counted.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TopRow {
    /// Its identifying string.
    value: String,
    /// Site.
    site: String,
    /// Interface id.
    ifid: u32,
    /// The sum.
    count: u64,
}

/// The elements that counted most.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TopAnswer {
    /// Kind of element.
    #[schema(value_type = String)]
    entity: Entity,
    /// What is counted.
    counter: String,
    /// Length of the windows that were added up.
    period: &'static str,
    /// Largest first.
    items: Vec<TopRow>,
}

/// What both questions have.
struct Asked {
    entity: Entity,
    site: Option<String>,
    ifid: Option<u32>,
    period: Granularity,
    from: Timestamp,
    to: Timestamp,
}

impl Asked {
    fn read(parameters: &Parameters) -> Result<Self, ApiError> {
        let entity = parameters.named("entity", Entity::parse)?;
        let entity = entity.ok_or_else(|| ApiError::bad_field("entity", "parameter 'entity' is missing"))?;
        if names(entity).is_none() {
            let cause = "there are series of interface, network, host, system and am_host";
            return Err(ApiError::bad_field("entity", cause));
        }
        let period = |name: &str| Granularity::PERIODS.into_iter().find(|period| period.name() == name);
        let period = parameters.named("period", period)?.unwrap_or(Granularity::Min);
        let to = parameters.parsed("to")?.unwrap_or(Timestamp::from_ns(i64::MAX));
        let from = parameters.parsed("from")?.unwrap_or(Timestamp::ZERO);
        let (site, ifid) = (parameters.text("site"), parameters.parsed("ifid")?);
        Ok(Self { entity, site, ifid, period, from, to })
    }
}

/// The time series of an element.
#[utoipa::path(get, path = "/api/v1/series", params(
    ("entity" = String, Query, description = "`interface`, `network`, `host`, `system` or `am_host`"),
    ("value" = String, Query, description = "Identifying string of the element"),
    ("period" = Option<String>, Query, description = "`min` (when absent), `5mins`, `hour` or `day`"),
    ("from" = Option<String>, Query, description = "Windows that end after this; all that are kept when absent"),
    ("to" = Option<String>, Query, description = "Windows that end at this or before"),
    ("counters" = Option<String>, Query, description = "Only these, parted by commas; zeros are shown then"),
    ("site" = Option<String>, Query, description = "At this site"),
    ("ifid" = Option<u32>, Query, description = "On this interface"),
    ("limit" = Option<usize>, Query, description = "Windows of each series at most, the newest: 1500, up to 10000")),
    responses((status = 200, body = SeriesAnswer), (status = 400, body = super::error::ErrorBody)))]
#[get("/series")]
pub async fn of_element(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let known = ["entity", "value", "period", "from", "to", "counters", "site", "ifid", "limit"];
    let parameters = Parameters::read(&request, &known)?;
    let Asked { entity, site, ifid, period, from, to } = Asked::read(&parameters)?;
    let value = parameters.text("value");
    let value = value.ok_or_else(|| ApiError::bad_field("value", "parameter 'value' is missing"))?;
    let limit = parameters.parsed::<usize>("limit")?.unwrap_or(POINTS);
    if !(1..=MAX_POINTS).contains(&limit) {
        return Err(ApiError::bad_field("limit", format!("limit must be between 1 and {MAX_POINTS}")));
    }
    let wanted = parameters.text("counters");
    let wanted: Option<Vec<&str>> = wanted.as_deref().map(|names| names.split(',').collect());
    let query = SeriesQuery { entity, value: value.clone(), site, ifid, period, from, to, limit };
    let row = |Series { site, ifid, points }: Series| {
        let points = points.into_iter().map(|point| shown(entity, point, wanted.as_deref())).collect();
        SeriesRow { site, ifid, points }
    };
    let items = deps.series.series(query).await?.into_iter().map(row).collect();
    Ok(HttpResponse::Ok().json(SeriesAnswer { entity, value, period: period.name(), items }))
}

/// The elements that counted most.
#[utoipa::path(get, path = "/api/v1/series/top", params(
    ("entity" = String, Query, description = "`interface`, `network`, `host` or `system`"),
    ("counter" = Option<String>, Query, description = "What is counted: `bytes` when absent"),
    ("period" = Option<String>, Query, description = "Windows to add up: `min` (when absent), `5mins`, `hour`, `day`"),
    ("from" = Option<String>, Query, description = "Windows that end after this; all that are kept when absent"),
    ("to" = Option<String>, Query, description = "Windows that end at this or before"),
    ("site" = Option<String>, Query, description = "At this site"),
    ("ifid" = Option<u32>, Query, description = "On this interface"),
    ("limit" = Option<usize>, Query, description = "Elements at most")),
    responses((status = 200, body = TopAnswer), (status = 400, body = super::error::ErrorBody)))]
#[get("/series/top")]
pub async fn top(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let known = ["entity", "counter", "period", "from", "to", "site", "ifid", "limit"];
    let parameters = Parameters::read(&request, &known)?;
    let Asked { entity, site, ifid, period, from, to } = Asked::read(&parameters)?;
    let counter = parameters.text("counter").unwrap_or_else(|| "bytes".to_owned());
    let places = places(entity, &counter).ok_or_else(|| {
        ApiError::bad_field("counter", format!("{} has no counter '{counter}'", entity.name()))
    })?;
    let limit = parameters.limit()?;
    let rows = deps.series.top(TopQuery { entity, site, ifid, period, from, to, places, limit }).await?;
    let items = rows.into_iter().map(|(element, count)| TopRow {
        value: element.value,
        site: element.site,
        ifid: element.ifid,
        count,
    });
    Ok(HttpResponse::Ok().json(TopAnswer { entity, counter, period: period.name(), items: items.collect() }))
}

/// Names of the counters of a kind of element, by place.
fn names(entity: Entity) -> Option<&'static [&'static str]> {
    Some(match entity {
        Entity::Interface => InterfaceCounters::NAMES,
        Entity::Network => NetworkCounters::NAMES,
        Entity::Host => HostCounters::NAMES,
        Entity::System => SystemCounters::NAMES,
        // What is measured of them has names of its own.
        Entity::AmHost => &[],
        _ => return None,
    })
}

/// The counters that make up what has this name.
fn places(entity: Entity, counter: &str) -> Option<Vec<usize>> {
    let names = names(entity)?;
    let place = |name: &str| names.iter().position(|known| *known == name);
    let parts: &[&str] = match (entity, counter) {
        (Entity::Host, "bytes") => &["bytes_sent", "bytes_rcvd"],
        (Entity::Host, "packets") => &["packets_sent", "packets_rcvd"],
        (Entity::Network, "bytes") => &["bytes_ingress", "bytes_egress", "bytes_inner"],
        (Entity::Network, "packets") => &["packets_ingress", "packets_egress", "packets_inner"],
        _ => &[counter],
    };
    parts.iter().map(|name| place(name)).collect()
}

fn shown(entity: Entity, point: Point, wanted: Option<&[&str]>) -> PointRow {
    let counted = |counters: BTreeMap<String, u64>| {
        counters.into_iter().map(|(name, count)| (name, count as f64)).collect()
    };
    let mut values: BTreeMap<String, f64> = match entity {
        Entity::Interface => counted(unpack::<InterfaceCounters>(&point.counters)),
        Entity::Network => counted(unpack::<NetworkCounters>(&point.counters)),
        Entity::Host => counted(unpack::<HostCounters>(&point.counters)),
        Entity::AmHost => BTreeMap::new(),
        _ => counted(unpack::<SystemCounters>(&point.counters)),
    };
    values.extend(point.metrics.into_iter().map(|(name, metric)| (name, metric.value())));
    match wanted {
        Some(wanted) => values.retain(|name, _| wanted.contains(&name.as_str())),
        None => values.retain(|_, value| *value != 0.0),
    }
    PointRow { at: point.at, values }
}

fn unpack<C: Counters>(packed: &Packed) -> BTreeMap<String, u64> {
    C::unpack(packed).named()
}
