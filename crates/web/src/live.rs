//! Live events: server-sent events of what changes in a workspace. An event says what to look at again, never the data.
//!
//! Must not know: any single resource. A ring may be lost; clients also reload when they reconnect.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::Method;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt};
use postrider_domain::access::Scope;
use postrider_domain::id::WorkspaceId;
use postrider_store::bell::Topic;
use serde_json::json;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::rule::Rule;

/// A stream ends after this time, so that a revoked key or a closed session does not listen for ever.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::GET,
        "/api/v1/live",
        Rule::Scope(Scope::CampaignsRead),
        Op::new("live", "live", "What changes, as it happens (server-sent events)")
            .about(
                "Each event is named by the kind of thing that changed (`campaign`, `import`, …) and carries \
                 `{\"what\": kind, \"id\": id}`: fetch that thing again. `reload` means that events were lost: fetch \
                 everything shown. The stream ends after 15 minutes; connect again.",
            )
            .gives_content(200, "text/event-stream", "The stream."),
        live,
    );
}

async fn live(State(web): State<Web>, caller: Caller) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let workspace = caller.workspace;
    let rings = BroadcastStream::new(web.store().bell().listen());
    let hello = futures_util::stream::once(async { Ok(event("hello", "")) });
    let events = rings.filter_map(move |ring| std::future::ready(translate(ring, workspace).map(Ok)));
    let stream = hello.chain(events).take_until(tokio::time::sleep(LONGEST));
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}

fn event(kind: &str, id: &str) -> Event {
    let data = json!({ "what": kind, "id": id });
    Event::default().event(kind.replace(['\r', '\n'], "")).data(data.to_string())
}

/// The event of a ring; `None` when it concerns another workspace or nobody who watches.
fn translate(ring: Result<Topic, BroadcastStreamRecvError>, mine: WorkspaceId) -> Option<Event> {
    match ring {
        Ok(Topic::Live { workspace, what }) if workspace == mine => {
            let (kind, id) = what.split_once(':').unwrap_or((what.as_str(), ""));
            Some(event(kind, id))
        }
        Ok(Topic::Live { .. } | Topic::Work | Topic::Campaign | Topic::Import | Topic::Inquiry) => None,
        Err(BroadcastStreamRecvError::Lagged(_)) => Some(event("reload", "")),
    }
}
