//! Events: what the control plane was asked to do, and what is in another state now.
//!
//! An event is told after what it tells of is on disk. Where the process has a store it goes through an
//! outbox there, so that it survives the process; [`Emitter`] is how everybody tells one. On the bus it
//! is a CloudEvent 1.0 in binary mode ([`cloud`]): attributes are headers, the content is JSON, a
//! [`Body`], whose JSON Schemas and AsyncAPI document ([`schema`]) follow from the types.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::Timestamp;
use crate::wire::subject::EventSubject;

pub mod cloud;
pub mod config;
mod emitter;
pub mod mask;
pub mod schema;

pub use emitter::{Emitter, NotTold, Outlet};

/// The version that bodies and their schemas have.
pub const VERSION: u32 = 1;

/// An event as it is kept and carried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Unique together with `source`; the same whenever it is told again.
    pub id: String,
    /// Its subject without the prefix of the bus.
    pub subject: String,
    /// Events of one key are ordered and numbered.
    pub key: String,
    /// Number within its key, from 1; 0 where nobody numbered it.
    pub sequence: u64,
    /// When it happened.
    pub at: Timestamp,
    /// Who tells it: `/<site>/<node>`.
    pub source: String,
    /// How many hooks stand between it and what people did: an event that a hook caused has one more
    /// than the event that the hook was for.
    #[serde(default)]
    pub depth: u32,
    /// W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What it tells.
    pub body: Value,
}

impl Event {
    /// What its subject says.
    pub fn parsed(&self) -> Option<EventSubject> {
        EventSubject::parse(&self.subject)
    }
}

/// Levels of a body that are kept as they are: far fewer than a reader of JSON takes, because what holds the
/// body, in stores and in what hooks are given, adds its own.
const LEVELS: usize = 64;

/// Puts text in the place of what is nested deeper than [`LEVELS`]: its JSON.
fn flatten(value: &mut Value) {
    fn walk(value: &mut Value, left: usize) {
        match value {
            Value::Array(_) | Value::Object(_) if left == 0 => *value = Value::String(value.to_string()),
            Value::Array(items) => items.iter_mut().for_each(|item| walk(item, left - 1)),
            Value::Object(members) => members.values_mut().for_each(|member| walk(member, left - 1)),
            _ => {}
        }
    }
    walk(value, LEVELS);
}

/// What an event tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Body {
    /// A call of the control plane has ended.
    Api(ApiBody),
    /// Something is in another state.
    State(StateBody),
    /// A flow hook was due.
    Flow(FlowBody),
    /// A window of elements has closed.
    Timer(TimerBody),
    /// An alert's transition.
    Alert(AlertBody),
    /// Somebody has published an item.
    Item(ItemBody),
}

/// A call of the control plane that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ApiBody {
    /// Its name: three words with dots between them.
    pub call: String,
    /// Whether it was done.
    pub success: bool,
    /// The HTTP status that answered it.
    pub code: u16,
    /// The same in the answer's `x-request-id` and in logs.
    pub request_id: String,
    /// Who asked.
    pub actor: Actor,
    /// What was given. The first one is who was meant by it, and always hidden.
    #[serde(rename = "in")]
    pub given: Vec<Parameter>,
    /// What was answered: whether it was done, the answer or why not, the status.
    #[serde(rename = "out")]
    pub answered: Vec<Parameter>,
    /// The object that was made, changed or removed, where there is one.
    pub extra: Option<Value>,
}

/// Who asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Actor {
    /// The name given, not proved.
    pub user: String,
    /// By what: `rest` or `command_line`.
    pub via: String,
}

/// One parameter of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Parameter {
    /// Its place, from 1.
    pub pos: u32,
    /// Its name.
    pub name: String,
    /// Its value; `"****"` in place of what is secret.
    pub value: Value,
}

/// Something that is in another state now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StateBody {
    /// The kind of thing.
    pub resource: String,
    /// Which one.
    pub id: String,
    /// Its state now.
    pub state: String,
    /// Its state more exactly.
    pub substate: Option<String>,
    /// Its state before; absent when it was not there or nobody knows.
    pub prev: Option<Previous>,
    /// Who changed it, where that was a person.
    pub actor: Option<Actor>,
    /// The call that changed it.
    pub request_id: Option<String>,
    /// Revision of the object.
    pub rev: Option<u64>,
    /// The object itself.
    pub object: Value,
}

/// A state that something was in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Previous {
    /// The state.
    pub state: String,
    /// More exactly.
    pub substate: Option<String>,
}

/// A flow hook that was due.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FlowBody {
    /// Which hook.
    pub hook: String,
    /// Number of the interface.
    pub ifid: u32,
    /// Of how many such events this one stands for, as they are sampled.
    pub sampled: u32,
    /// The flow as it is.
    pub flow: Value,
}

/// A window of elements that has closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TimerBody {
    /// `min`, `5mins`, `hour`, `day`.
    pub granularity: String,
    /// The kind of element.
    pub element: String,
    /// Site of the interface.
    pub site: String,
    /// Number of the interface.
    pub ifid: u32,
    /// End of the window.
    #[schema(value_type = String)]
    pub window: Timestamp,
    /// Elements of the run.
    pub elements: u64,
    /// Those that it reached before its deadline; the others come first in the next one.
    pub reached: u64,
}

/// An alert's transition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AlertBody {
    /// `engage`, `update`, `release` or `store`.
    pub action: String,
    /// The alert, see its own schema.
    pub alert: Value,
}

/// An item that somebody has published on a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ItemBody {
    /// Who keeps the node.
    pub service: String,
    /// The node.
    pub node: String,
    /// The item's name, unique on its node.
    pub item_id: String,
    /// Who published it.
    pub publisher: String,
    /// The item.
    pub payload: Value,
}

/// An event that is about to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Its id, where what it tells of has one of its own; else one is made.
    pub id: Option<String>,
    /// Where it goes.
    pub subject: EventSubject,
    /// What it tells.
    pub body: Body,
    /// See [`Event::depth`].
    pub depth: u32,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

impl Draft {
    /// An event of this content.
    pub fn new(subject: EventSubject, body: Body) -> Self {
        Self { id: None, subject, body, depth: 0, traceparent: None }
    }

    /// Something is in another state now.
    pub fn state(resource: &str, id: &str, state: &str, prev: Option<&str>, object: Value) -> Self {
        let subject = EventSubject::State {
            resource: resource.to_owned(),
            state: state.to_owned(),
            sub: None,
            id: id.to_owned(),
        };
        let body = StateBody {
            resource: resource.to_owned(),
            id: id.to_owned(),
            state: state.to_owned(),
            substate: None,
            prev: prev.map(|state| Previous { state: state.to_owned(), substate: None }),
            actor: None,
            request_id: None,
            rev: None,
            object,
        };
        Self::new(subject, Body::State(body))
    }

    /// The same with a state that is told more exactly.
    pub fn more_exactly(mut self, substate: &str) -> Self {
        if let (EventSubject::State { sub, .. }, Body::State(body)) = (&mut self.subject, &mut self.body) {
            *sub = Some(substate.to_owned());
            body.substate = Some(substate.to_owned());
        }
        self
    }

    /// The same under an id of its own.
    pub fn with_id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// The same because of a call with this id.
    pub fn in_call(mut self, id: Option<String>) -> Self {
        if let Body::State(body) = &mut self.body {
            body.request_id = id;
        }
        self
    }

    /// The same by somebody, as revision `rev`.
    pub fn by(mut self, user: &str, via: &str, rev: u64) -> Self {
        if let Body::State(body) = &mut self.body {
            body.actor = Some(Actor { user: user.to_owned(), via: via.to_owned() });
            body.rev = Some(rev);
        }
        self
    }
}
