//! The resources of `/api/v1`, one file each. Every file says its routes first, then its views, then its handlers.

mod account;
mod audit;
mod blocks;
mod campaign;
mod campaign_action;
mod campaign_figures;
mod campaign_view;
mod certificate;
mod consent;
mod contact;
mod contact_bulk;
mod delivery;
mod doctor;
mod domain;
mod egress;
mod history;
mod home;
mod import;
mod import_inspect;
mod key;
mod list;
mod message;
mod picture;
mod probe;
mod purpose;
mod queue;
mod report;
mod route;
mod session;
mod setup;
mod suppression;
mod template;
mod timeline;
mod tls;
mod view;
mod workspace;

use crate::api::Api;

/// Adds the routes of every resource.
pub fn routes(api: &mut Api) {
    setup::routes(api);
    session::routes(api);
    workspace::routes(api);
    home::routes(api);
    account::routes(api);
    key::routes(api);
    audit::routes(api);
    contact::routes(api);
    contact_bulk::routes(api);
    view::routes(api);
    consent::routes(api);
    timeline::routes(api);
    list::routes(api);
    import::routes(api);
    import_inspect::routes(api);
    purpose::routes(api);
    suppression::routes(api);
    domain::routes(api);
    route::routes(api);
    egress::routes(api);
    queue::routes(api);
    tls::routes(api);
    certificate::routes(api);
    probe::routes(api);
    campaign::routes(api);
    campaign_action::routes(api);
    campaign_figures::routes(api);
    history::routes(api);
    blocks::routes(api);
    template::routes(api);
    picture::routes(api);
    report::routes(api);
    delivery::routes(api);
    message::routes(api);
    doctor::routes(api);
}
