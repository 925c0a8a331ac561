//! The resources of `/api/v1`, one file each. Every file says its routes first, then its views, then its handlers.

mod account;
mod audit;
mod campaign;
mod campaign_action;
mod campaign_view;
mod consent;
mod contact;
mod delivery;
mod doctor;
mod domain;
mod import;
mod key;
mod list;
mod message;
mod probe;
mod purpose;
mod report;
mod route;
mod session;
mod setup;
mod suppression;
mod timeline;
mod workspace;

use crate::api::Api;

/// Adds the routes of every resource.
pub fn routes(api: &mut Api) {
    setup::routes(api);
    session::routes(api);
    workspace::routes(api);
    account::routes(api);
    key::routes(api);
    audit::routes(api);
    contact::routes(api);
    consent::routes(api);
    timeline::routes(api);
    list::routes(api);
    import::routes(api);
    purpose::routes(api);
    suppression::routes(api);
    domain::routes(api);
    route::routes(api);
    probe::routes(api);
    campaign::routes(api);
    campaign_action::routes(api);
    report::routes(api);
    delivery::routes(api);
    message::routes(api);
    doctor::routes(api);
}
