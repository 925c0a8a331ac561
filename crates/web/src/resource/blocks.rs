//! Bodies of blocks on their way to code.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use postrider_domain::access::Scope;
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::input::Json;
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::FindingView;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let example = json!({
        "version": 1,
        "blocks": [{ "id": "b1", "type": "heading", "text": "Hello" }, { "id": "b2", "type": "footer" }]
    });
    api.add(
        Method::POST,
        "/api/v1/blocks/mjml",
        Rule::Scope(Scope::CampaignsRead),
        Op::new("campaigns", "blocks_as_mjml", "A body of blocks as MJML, with the same layout")
            .about("Stores nothing. There is no way back from MJML to blocks. 422 with findings when the blocks are not right.")
            .takes::<BlocksInput>(json!({ "body": example.to_string() }))
            .gives::<MjmlView>(200, "The MJML document; it renders to the same message."),
        mjml,
    );
}

/// A body in the format `blocks`.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct BlocksInput {
    /// The JSON document of docs/blocks.md, as text.
    body: String,
}

/// The same in MJML.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct MjmlView {
    /// The document.
    mjml: String,
}

async fn mjml(
    State(web): State<Web>,
    caller: Caller,
    Json(input): Json<BlocksInput>,
) -> Result<axum::Json<MjmlView>, Problem> {
    let has_privacy = !web.store().workspace(caller.workspace).await?.privacy_url.is_empty();
    let made = tokio::task::spawn_blocking(move || postrider_content::blocks::to_mjml(&input.body, has_privacy))
        .await
        .map_err(|_| Problem::internal())?;
    match made {
        Ok(mjml) => Ok(axum::Json(MjmlView { mjml })),
        Err(findings) => {
            let mut problem = Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "not_ready",
                "the blocks cannot become MJML yet: put the findings right, nothing was changed",
            );
            problem.findings = Some(findings.into_iter().map(FindingView::from).collect());
            Err(problem)
        }
    }
}
