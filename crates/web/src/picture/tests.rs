//! What comes in as a file and what goes out as a picture.

use image::codecs::gif::GifEncoder;
use image::{Frame, Rgb, RgbImage, Rgba, RgbaImage};

use super::*;

/// A gradient, so that scaling has something to do.
fn photo(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x % 256) as u8, (y % 256) as u8, ((x * y) % 251) as u8]))
}

fn file(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

/// A JPEG with an EXIF segment: turned by a quarter, with a place in it.
fn from_a_phone() -> Vec<u8> {
    let plain = file(&photo(800, 400).into(), ImageFormat::Jpeg);
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01".to_vec();
    exif.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0]);
    exif.extend(b"GPS 45.0703N 7.6869E");
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE1];
    bytes.extend(u16::try_from(exif.len() + 2).unwrap().to_be_bytes());
    bytes.extend(&exif);
    bytes.extend(&plain[2..]);
    bytes
}

#[test]
fn two_sizes_are_made_and_none_is_larger_than_the_file() {
    let bytes = file(&photo(2000, 1000).into(), ImageFormat::Jpeg);
    let made = prepare(&bytes, 600).unwrap();
    assert_eq!((made.plain.width, made.plain.height), (600, 300));
    assert_eq!(made.double.map(|d| (d.width, d.height)), Some((1200, 600)));
    let made = prepare(&bytes, 99_999).unwrap();
    assert_eq!((made.plain.width, made.double.unwrap().width), (1200, 2000));
    let small = prepare(&file(&photo(80, 40).into(), ImageFormat::Png), 600).unwrap();
    assert_eq!((small.plain.width, small.double.is_none()), (80, true));
}

#[test]
fn a_picture_of_a_phone_stands_upright_and_tells_no_place() {
    let bytes = from_a_phone();
    assert!(bytes.windows(3).any(|w| w == b"GPS"));
    let made = prepare(&bytes, 600).unwrap();
    assert_eq!((made.plain.width, made.plain.height), (400, 800), "turned by a quarter");
    for one in [Some(&made.plain), made.double.as_ref()].into_iter().flatten() {
        assert!(!one.bytes.windows(3).any(|w| w == b"GPS"));
        assert!(!one.bytes.windows(4).any(|w| w == b"Exif"));
    }
}

#[test]
fn see_through_places_stay_so_and_webp_becomes_what_mail_programs_know() {
    let clear = RgbaImage::from_fn(100, 100, |x, _| Rgba([200, 30, 30, if x < 50 { 0 } else { 255 }]));
    let made = prepare(&file(&clear.into(), ImageFormat::Png), 50).unwrap();
    assert_eq!(made.plain.media_type, "image/png");
    assert!(image::load_from_memory(&made.plain.bytes).unwrap().color().has_alpha());
    let made = prepare(&file(&photo(300, 300).into(), ImageFormat::WebP), 300).unwrap();
    assert_ne!(made.plain.media_type, "image/webp");
    assert!(matches!(format(&made.plain.bytes), Ok(ImageFormat::Png | ImageFormat::Jpeg)));
}

#[test]
fn a_moving_gif_is_kept_as_it_is_and_a_still_one_is_not() {
    let gif = |frames: usize| {
        let mut bytes = Vec::new();
        let mut encoder = GifEncoder::new(&mut bytes);
        for i in 0..frames {
            let shade = if i == 0 { 0 } else { 255 };
            encoder.encode_frame(Frame::new(RgbaImage::from_pixel(20, 10, Rgba([shade, 0, 0, 255])))).unwrap();
        }
        drop(encoder);
        bytes
    };
    let moving = gif(3);
    let made = prepare(&moving, 10).unwrap();
    assert_eq!((made.plain.media_type.as_str(), &made.plain.bytes), ("image/gif", &moving));
    assert_eq!(prepare(&gif(1), 10).unwrap().plain.width, 10);
}

#[test]
fn what_is_no_picture_is_refused_in_words() {
    for bytes in [
        &b""[..],
        b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>",
        b"<?xml version=\"1.0\"?><svg/>",
        b"%PDF-1.7",
        b"BM000000000000000000",
        b"\0\0\0\x20ftypavif",
    ] {
        assert_eq!(prepare(bytes, 600).unwrap_err(), PictureError::Format);
    }
    let whole = file(&photo(300, 200).into(), ImageFormat::Png);
    assert_eq!(prepare(&whole[..whole.len() / 2], 600).unwrap_err(), PictureError::Damaged);
    assert_eq!(prepare(&whole[..20], 600).unwrap_err(), PictureError::Damaged);
}

#[test]
fn a_bomb_is_told_by_its_measures_before_it_is_unpacked() {
    // A PNG header that promises 60,000 × 60,000 pixels, and a right check sum over it.
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    png.extend(60_000u32.to_be_bytes());
    png.extend(60_000u32.to_be_bytes());
    png.extend([8, 6, 0, 0, 0]);
    let sum = crc(&png[12..]);
    png.extend(sum.to_be_bytes());
    png.extend(b"\0\0\0\x01IDAT\0");
    png.extend(crc(b"IDAT\0").to_be_bytes());
    assert_eq!(prepare(&png, 600).unwrap_err(), PictureError::Pixels { width: 60_000, height: 60_000 });
    let mut gif = Vec::new();
    let mut encoder = GifEncoder::new(&mut gif);
    encoder.encode_frame(Frame::new(RgbaImage::from_pixel(20, 10, Rgba([9, 9, 9, 255])))).unwrap();
    drop(encoder);
    // The measures of the logical screen.
    gif[6..10].fill(0xFF);
    assert_eq!(prepare(&gif, 600).unwrap_err(), PictureError::Pixels { width: 65_535, height: 65_535 });
}

/// CRC-32 as PNG has it (RFC 2083 15).
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

proptest::proptest! {
    #[test]
    fn no_file_makes_it_stumble(flips in proptest::collection::vec((0usize..4000, 0u8..=255), 1..20), which in 0usize..3) {
        let mut bytes = match which {
            0 => file(&photo(60, 40).into(), ImageFormat::Png),
            1 => from_a_phone(),
            _ => file(&photo(60, 40).into(), ImageFormat::WebP),
        };
        let n = bytes.len();
        for (at, byte) in flips { bytes[at % n] = byte; }
        let _ = prepare(&bytes, 50);
    }
}
