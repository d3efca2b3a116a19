//! The suite of [`SeriesStore`].

use super::samples::at;
use crate::model::metric::{Metric, Metrics};
use crate::model::packed::Packed;
use crate::model::{Entity, Granularity, Timestamp};
use crate::store::series::{ElementId, Sample, SampleBatch, Series, SeriesQuery, SeriesStore, TopQuery};

pub(super) fn sample(value: &str, ifid: u32, counters: &[u64]) -> Sample {
    let element = ElementId { site: "s".to_owned(), ifid, entity: Entity::Host, value: value.to_owned() };
    Sample { element, counters: Packed::new(counters), metrics: Metrics::new() }
}

/// A batch of the minute that ends at second `minute`, which belongs to the hour that ends at 3600.
pub(super) fn batch(key: &str, minute: i64, samples: Vec<Sample>) -> SampleBatch {
    let windows = vec![(Granularity::Min, at(minute)), (Granularity::Hour, at(3600))];
    SampleBatch { key: key.to_owned(), windows, samples }
}

pub(super) fn query(value: &str, period: Granularity) -> SeriesQuery {
    SeriesQuery {
        entity: Entity::Host,
        value: value.to_owned(),
        site: None,
        ifid: None,
        period,
        from: Timestamp::ZERO,
        to: at(1_000_000),
        limit: 100,
    }
}

/// The counters of every window, by seconds.
fn shown(series: &Series) -> Vec<(i64, Vec<(usize, u64)>)> {
    let begin = at(0).secs();
    series.points.iter().map(|p| (p.at.secs() - begin, p.counters.values().collect())).collect()
}

pub(super) async fn windows_add_up_what_comes_once(store: &dyn SeriesStore) {
    store.add_samples(batch("a/1", 60, vec![sample("a", 1, &[1, 0, 5])])).await.unwrap();
    store.add_samples(batch("a/2", 120, vec![sample("a", 1, &[2, 1])])).await.unwrap();
    store.add_samples(batch("a/2", 120, vec![sample("a", 1, &[2, 1])])).await.unwrap();
    // The rest of a minute that was cut in two by a restart.
    store.add_samples(batch("a/3", 120, vec![sample("a", 1, &[10])])).await.unwrap();
    let minutes = store.series(query("a", Granularity::Min)).await.unwrap();
    assert_eq!(minutes.len(), 1);
    assert_eq!((minutes[0].site.as_str(), minutes[0].ifid), ("s", 1));
    assert_eq!(shown(&minutes[0]), [(60, vec![(0, 1), (2, 5)]), (120, vec![(0, 12), (1, 1)])]);
    let hours = store.series(query("a", Granularity::Hour)).await.unwrap();
    assert_eq!(shown(&hours[0]), [(3600, vec![(0, 13), (1, 1), (2, 5)])]);
    let later = SeriesQuery { from: at(60), ..query("a", Granularity::Min) };
    assert_eq!(shown(&store.series(later).await.unwrap()[0]).len(), 1);
    let newest = SeriesQuery { limit: 1, ..query("a", Granularity::Min) };
    assert_eq!(shown(&store.series(newest).await.unwrap()[0])[0].0, 120);
    assert!(store.series(query("unknown", Granularity::Min)).await.unwrap().is_empty());
}

pub(super) async fn named_numbers_are_sums_or_means(store: &dyn SeriesStore) {
    let with = |gauge: bool, sum: f64| {
        let metric = Metric { gauge, sum, count: 1 };
        Sample { metrics: Metrics::from([(format!("gauge_{gauge}"), metric)]), ..sample("m", 1, &[]) }
    };
    for (minute, value) in [(60, 10.0), (120, 20.0)] {
        let samples = vec![with(true, value), with(false, value)];
        store.add_samples(batch(&format!("m/{minute}"), minute, samples)).await.unwrap();
    }
    let hour = store.series(query("m", Granularity::Hour)).await.unwrap().remove(0).points.remove(0);
    let values: Vec<(&str, f64)> = hour.metrics.iter().map(|(name, m)| (name.as_str(), m.value())).collect();
    assert_eq!(values, [("gauge_false", 30.0), ("gauge_true", 15.0)]);
    let minutes = store.series(query("m", Granularity::Min)).await.unwrap();
    assert_eq!(minutes[0].points.len(), 2);
}

pub(super) async fn the_largest_come_first(store: &dyn SeriesStore) {
    let samples = vec![sample("t1", 5, &[1, 1]), sample("t2", 5, &[5, 9]), sample("t3", 5, &[0, 0, 3])];
    store.add_samples(batch("t/1", 60, samples)).await.unwrap();
    store.add_samples(batch("t/2", 120, vec![sample("t1", 5, &[7])])).await.unwrap();
    let top = TopQuery {
        entity: Entity::Host,
        site: None,
        ifid: Some(5),
        period: Granularity::Min,
        from: Timestamp::ZERO,
        to: at(1_000_000),
        places: vec![0],
        limit: 10,
    };
    let names = |rows: Vec<(ElementId, u64)>| {
        rows.into_iter().map(|(element, sum)| (element.value, sum)).collect::<Vec<_>>()
    };
    let rows = names(store.top(top.clone()).await.unwrap());
    assert_eq!(rows, [("t1".to_owned(), 8), ("t2".to_owned(), 5)]);
    let both = TopQuery { places: vec![0, 1], limit: 1, ..top };
    assert_eq!(names(store.top(both).await.unwrap()), [("t2".to_owned(), 14)]);
}

pub(super) async fn pruning_deletes_only_what_is_older(store: &dyn SeriesStore) {
    store.add_samples(batch("p/1", 60, vec![sample("p", 1, &[1])])).await.unwrap();
    store.add_samples(batch("p/2", 120, vec![sample("p", 1, &[1])])).await.unwrap();
    assert!(store.prune_series(Granularity::Min, at(120)).await.unwrap() >= 1);
    assert_eq!(shown(&store.series(query("p", Granularity::Min)).await.unwrap()[0]), [(120, vec![(0, 1)])]);
    assert_eq!(store.series(query("p", Granularity::Hour)).await.unwrap()[0].points.len(), 1);
}
