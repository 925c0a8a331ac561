//! Pictures for messages: uploaded once, made small, shown to whoever holds the address.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::id::PictureId;
use postrider_store::picture::{Measure, NewPicture, Picture};
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::input::{Paging, Path, Query, collect};
use crate::page::{Listing, paging};
use crate::picture::{MAX_BYTES, PictureError, prepare};
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let read = Rule::Scope(Scope::CampaignsRead);
    let write = Rule::Scope(Scope::CampaignsWrite);
    let file = json!({ "schema": { "type": "string", "format": "binary" } });
    api.add(
        Method::POST,
        "/api/v1/pictures",
        write,
        Op::new("pictures", "add_picture", "Upload a picture for messages")
            .about(
                "The body is the file: PNG, JPEG, GIF or WebP, told by its bytes, at most 10 MiB and 50 million pixels. \
                 Two sizes are made, as wide as `width` and twice that, without what the camera wrote into the file; \
                 moving GIFs stay as they are. The same file for the same width is kept once.",
            )
            .query::<AddQuery>()
            .takes_content(json!({
                "image/png": file, "image/jpeg": file, "image/gif": file, "image/webp": file, "application/octet-stream": file
            }))
            .gives::<PictureView>(201, "The picture and its addresses."),
        add,
    );
    api.add(
        Method::GET,
        "/api/v1/pictures",
        read,
        Op::new("pictures", "list_pictures", "The pictures of the workspace")
            .gives_page::<PictureView>("Newest first."),
        list,
    );
    api.add(
        Method::GET,
        "/api/v1/pictures/{picture}",
        read,
        Op::new("pictures", "get_picture", "One picture").gives::<PictureView>(200, "The picture and its addresses."),
        get,
    );
    api.add(
        Method::DELETE,
        "/api/v1/pictures/{picture}",
        write,
        Op::new("pictures", "delete_picture", "Delete a picture that no campaign and no template shows")
            .gives_nothing("It is gone."),
        delete,
    );
    api.add(
        Method::GET,
        "/pictures/{token}",
        Rule::Public,
        Op::new("public", "show_picture", "A picture, as messages show it").gives_content(
            200,
            "image/png",
            "The picture (or image/jpeg, image/gif); never changes.",
        ),
        show,
    );
}

/// What is said about a file.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct AddQuery {
    /// Width of its place in CSS pixels, 16 to 1200; 600 when nobody says.
    width: Option<u32>,
    /// The name of the file.
    name: Option<String>,
    /// What it shows, for those who do not see it.
    alt: Option<String>,
}

/// One size.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct SizeView {
    /// Its public address.
    address: String,
    /// Width in pixels.
    width: u32,
    /// Height in pixels.
    height: u32,
    /// Bytes of the file.
    size: i64,
}

/// A picture.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct PictureView {
    /// Its id.
    #[schema(value_type = s::PictureId)]
    id: PictureId,
    /// The name of the file.
    name: String,
    /// What it shows.
    alt: String,
    /// `image/png`, `image/jpeg` or `image/gif`.
    media_type: String,
    /// The plain size.
    plain: SizeView,
    /// With two pixels for each CSS pixel, for sharp screens: give the block's width with it. Null when the file had no more.
    double: Option<SizeView>,
    /// When it came.
    created_at: Time,
}

impl PictureView {
    fn of(picture: Picture, public_url: &str) -> PictureView {
        let extension = picture.media_type.rsplit('/').next().unwrap_or("png").replace("jpeg", "jpg");
        let base = public_url.trim_end_matches('/');
        let size = |scale: u8, m: Measure| SizeView {
            address: format!("{base}/pictures/{}-{scale}x.{extension}", picture.token),
            width: m.width,
            height: m.height,
            size: m.size,
        };
        PictureView {
            id: picture.id,
            plain: size(1, picture.plain),
            double: picture.double.map(|m| size(2, m)),
            name: picture.name.clone(),
            alt: picture.alt.clone(),
            media_type: picture.media_type.clone(),
            created_at: Time(picture.created_at),
        }
    }
}

impl From<PictureError> for Problem {
    fn from(error: PictureError) -> Problem {
        let (status, code) = match error {
            PictureError::Format => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_a_picture"),
            PictureError::Pixels { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "too_many_pixels"),
            PictureError::Damaged => (StatusCode::UNPROCESSABLE_ENTITY, "damaged_picture"),
        };
        Problem::new(status, code, error.to_string())
    }
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        "the picture has more than 10 MiB: save it smaller (2,400 pixels wide are plenty), then send it again",
    )
}

async fn add(
    State(web): State<Web>,
    caller: Caller,
    Query(query): Query<AddQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let width = query.width.unwrap_or(600);
    if !(16..=crate::picture::MAX_WIDTH).contains(&width) {
        return Err(Problem::bad_request("`width` should be 16 to 1200"));
    }
    let workspace = web.store().workspace(caller.workspace).await?;
    if workspace.public_url.is_empty() {
        return Err(Problem::conflict(
            "the workspace has no public address, so recipients could not load the picture: set it in the settings first",
        ));
    }
    let space = web.store().space()?;
    if space.low {
        return Err(postrider_store::StoreError::Full {
            free: space.free,
            need: postrider_store::Space::needed(space.total),
        }
        .into());
    }
    let bytes = collect(request.into_body(), MAX_BYTES).await.map_err(|problem| {
        if problem.status == StatusCode::PAYLOAD_TOO_LARGE.as_u16() { too_large() } else { problem }
    })?;
    let digest: [u8; 32] = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes)
        .as_ref()
        .try_into()
        .expect("SHA-256 has 32 bytes");
    let turn = web.easel().acquire().await.map_err(|_| Problem::internal())?;
    let made = tokio::task::spawn_blocking(move || prepare(&bytes, width)).await.map_err(|_| Problem::internal())?;
    drop(turn);
    let made = made?;
    let new = NewPicture {
        digest,
        wanted_width: width,
        name: query.name.unwrap_or_default(),
        alt: query.alt.unwrap_or_default(),
        plain: made.plain,
        double: made.double,
    };
    let kept = web.store().add_picture(caller.workspace, &caller.actor, new).await?;
    Ok((StatusCode::CREATED, axum::Json(PictureView::of(kept, &workspace.public_url))).into_response())
}

async fn list(
    State(web): State<Web>,
    caller: Caller,
    Query(query): Query<Paging>,
) -> Result<axum::Json<Listing<PictureView>>, Problem> {
    let workspace = web.store().workspace(caller.workspace).await?;
    let page = web.store().pictures(caller.workspace, &paging(query.limit, query.cursor)?).await?;
    let items = page.items.into_iter().map(|p| PictureView::of(p, &workspace.public_url)).collect();
    Ok(axum::Json(Listing { items, next_cursor: page.next }))
}

async fn get(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<PictureId>,
) -> Result<axum::Json<PictureView>, Problem> {
    let picture = web.store().picture(caller.workspace, id).await?;
    let workspace = web.store().workspace(caller.workspace).await?;
    Ok(axum::Json(PictureView::of(picture, &workspace.public_url)))
}

async fn delete(State(web): State<Web>, caller: Caller, Path(id): Path<PictureId>) -> Result<StatusCode, Problem> {
    web.store().delete_picture(caller.workspace, &caller.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The file of `TOKEN-1x.png`; the extension is for people and old programs.
async fn show(State(web): State<Web>, Path(name): Path<String>) -> Result<Response, Problem> {
    let gone = || Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such picture (any more)");
    let (token, size) = name.split_once('-').ok_or_else(gone)?;
    let scale = match size.split('.').next() {
        Some("1x") => 1,
        Some("2x") => 2,
        Some(_) | None => return Err(gone()),
    };
    let file = web.store().picture_file(token, scale).await?.ok_or_else(gone)?;
    let media_type = HeaderValue::from_str(&file.media_type).map_err(|_| Problem::internal())?;
    let mut response = Response::new(Body::from(file.bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("inline"));
    // Mail programs in browsers show it on pages of their own.
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin"));
    Ok(response)
}
