//! What a partition asks its shard to do.

use shared::events::{Body, Draft, TimerBody};
use shared::model::Entity;
use shared::store::Transition;
use shared::store::memory::Remembered;
use shared::store::series::SampleBatch;
use shared::wire::proto::HttpPost;
use shared::wire::subject::EventSubject;

use super::elements::Elements;
use crate::schedule::Closed;

/// What a delta caused.
#[derive(Debug, Default)]
pub struct Output {
    /// Changes of the alert state, to be stored before the delta is acknowledged.
    pub transitions: Vec<Transition>,
    /// Scripts' HTTP posts.
    pub posts: Vec<HttpPost>,
    /// Scripts' own messages: site, subject, payload.
    pub messages: Vec<(String, String, String)>,
    /// What scripts want to remember, to be stored before the delta is acknowledged.
    pub remembered: Vec<Remembered>,
    /// What elements counted in the windows that ended.
    pub samples: Vec<SampleBatch>,
    /// Runs of hooks that have ended and states of hosts, as events.
    pub events: Vec<Draft>,
}

impl Output {
    /// True when there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let Self { transitions, posts, messages, remembered, samples, events } = self;
        transitions.is_empty()
            && posts.is_empty()
            && messages.is_empty()
            && remembered.is_empty()
            && samples.is_empty()
            && events.is_empty()
    }

    /// Everything in it goes on with the trace of its cause.
    pub(super) fn caused_by(&mut self, traceparent: Option<&str>) {
        let Some(traceparent) = traceparent else { return };
        for transition in &mut self.transitions {
            let alert = match transition {
                Transition::Engage(engaged)
                | Transition::Update(engaged)
                | Transition::Worsen(engaged, _) => &mut engaged.alert,
                Transition::Release(alert) | Transition::Store(alert) => alert,
            };
            alert.traceparent = Some(traceparent.to_owned());
        }
        for post in &mut self.posts {
            traceparent.clone_into(&mut post.traceparent);
        }
    }
}

/// The event of a run that has ended; its id follows from the window, so that who goes through it again
/// tells it once.
pub(super) fn timer_event(elements: &Elements<'_>, entity: Entity, window: Closed, reached: usize) -> Draft {
    let interface = &elements.state.interface;
    let (granularity, element) = (window.granularity.name().to_owned(), entity.to_string());
    let id = format!("{}/{}/{element}/{granularity}/{}", interface.site, interface.id, window.at.ns());
    let subject = EventSubject::Timer { granularity: granularity.clone(), element: element.clone() };
    let body = TimerBody {
        granularity,
        element,
        site: interface.site.clone(),
        ifid: interface.id,
        window: window.at,
        elements: elements.len() as u64,
        reached: reached as u64,
    };
    Draft::new(subject, Body::Timer(body)).with_id(id)
}
