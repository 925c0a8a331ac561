//! Pictures, on both databases: kept once, shown by their address, not deleted while something shows them.

use postrider_domain::campaign::{Audience, Draft, Objective};

use crate::book_rig::{BY, place};
use crate::campaign::NewCampaign;
use crate::error::StoreError;
use crate::page::PageRequest;
use crate::picture::{NewPicture, Rendition};
use crate::template::{NewTemplate, TemplateChange};
use crate::testing::open_both;

fn picture(digest: u8, width: u32) -> NewPicture {
    let size = |w: u32| Rendition { media_type: "image/png".into(), width: w, height: w / 2, bytes: vec![digest; 9] };
    NewPicture {
        digest: [digest; 32],
        wanted_width: width,
        name: "shop.png".into(),
        alt: "Our shop".into(),
        plain: size(width),
        double: (digest > 1).then(|| size(width * 2)),
    }
}

#[tokio::test]
async fn a_picture_is_kept_once_and_found_by_its_address() {
    for store in open_both("pictures").await {
        let (ours, theirs) = (place(&store, "a").await.workspace, place(&store, "b").await.workspace);
        let first = store.add_picture(ours, &BY, picture(1, 600)).await.unwrap();
        assert_eq!(first.double, None);
        let mut again = picture(1, 600);
        again.alt = "The shop at night".into();
        let again = store.add_picture(ours, &BY, again).await.unwrap();
        assert_eq!((again.id, again.token.as_str()), (first.id, first.token.as_str()), "{}", store.kind);
        assert_eq!(again.alt, "The shop at night");
        let other = store.add_picture(ours, &BY, picture(2, 300)).await.unwrap();
        assert_eq!(other.double.unwrap().width, 600);
        // The same file elsewhere is another picture: nobody learns what others have.
        let foreign = store.add_picture(theirs, &BY, picture(1, 600)).await.unwrap();
        assert_ne!(foreign.token, first.token);
        let page = store.pictures(ours, &PageRequest::first(1)).await.unwrap();
        assert_eq!(page.items[0].id, other.id);
        let rest = store.pictures(ours, &PageRequest::first(1).after(page.next)).await.unwrap();
        assert_eq!((rest.items[0].id, rest.next), (first.id, None));
        let file = store.picture_file(&other.token, 2).await.unwrap().unwrap();
        assert_eq!((file.media_type.as_str(), file.width, file.bytes.len()), ("image/png", 600, 9));
        assert_eq!(store.picture_file(&first.token, 2).await.unwrap(), None);
        for nonsense in ["", "0", &"0".repeat(32), &"z".repeat(32), "' OR 1=1 --"] {
            assert_eq!(store.picture_file(nonsense, 1).await.unwrap(), None, "{nonsense}");
        }
        assert!(matches!(store.picture(theirs, first.id).await, Err(StoreError::NotFound { .. })));
        assert!(matches!(store.delete_picture(theirs, &BY, first.id).await, Err(StoreError::NotFound { .. })));
    }
}

#[tokio::test]
async fn a_picture_that_is_shown_somewhere_stays() {
    for store in open_both("shown").await {
        let w = place(&store, "a").await.workspace;
        let kept = store.add_picture(w, &BY, picture(3, 600)).await.unwrap();
        let body = format!("<img src=\"https://mail.example.org/pictures/{}-2x.png\" alt=\"x\">", kept.token);
        let draft = Draft { body, ..Draft::default() };
        let new = NewTemplate { name: "Summer".into(), draft, ..NewTemplate::default() };
        let template = store.create_template(w, &BY, new).await.unwrap().row.id;
        let text = Draft {
            body: format!("![x](https://mail.example.org/pictures/{}-1x.png)", kept.token),
            ..Draft::default()
        };
        let campaign = NewCampaign {
            name: "June".into(),
            objective: Objective::Information,
            audience: Audience::default(),
            policy: None,
            route: None,
            draft: text,
        };
        let campaign = store.create_campaign(w, &BY, campaign).await.unwrap();
        let variant = store.variants(w, campaign.id).await.unwrap()[0].clone();
        let refused = async || match store.delete_picture(w, &BY, kept.id).await {
            Err(StoreError::Conflict { message }) => message,
            other => panic!("{}: {other:?}", store.kind),
        };
        assert!(refused().await.contains("the campaign “June”"));
        store.change_variant(w, &BY, variant.id, variant.rev, &Draft::default()).await.unwrap();
        assert!(refused().await.contains("the template “Summer”"));
        let change = TemplateChange { draft: Some(Draft::default()), ..TemplateChange::default() };
        store.change_template(w, &BY, template, 1, change).await.unwrap();
        store.delete_picture(w, &BY, kept.id).await.unwrap();
        assert_eq!(store.picture_file(&kept.token, 1).await.unwrap(), None);
    }
}
