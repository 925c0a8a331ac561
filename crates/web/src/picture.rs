//! From an uploaded file to the picture that goes into messages: told by its bytes, measured before it is unpacked, turned
//! upright, made small and written anew, so that nothing of the camera (place, device, name) leaves with it.
//!
//! Must not know HTTP or where pictures are kept. Memory: at most [`MAX_PIXELS`] are unpacked.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType as PngFilter, PngEncoder};
use image::imageops::FilterType;
use image::{
    AnimationDecoder, DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, Limits,
};
use postrider_store::picture::Rendition;

/// Largest file in bytes.
pub const MAX_BYTES: usize = 10 * 1024 * 1024;
/// Most pixels that are unpacked.
pub const MAX_PIXELS: u64 = 50_000_000;
/// Longest side in pixels.
const MAX_SIDE: u32 = 16_384;
/// Most bytes that a decoder may take.
const MAX_ALLOC: u64 = 512 * 1024 * 1024;
/// Widest plain size in CSS pixels.
pub const MAX_WIDTH: u32 = 1_200;
/// Tallest size: beyond, mail programs give up.
const MAX_HEIGHT: u32 = 4_800;
/// JPEG quality of 100: small, and nothing to be seen.
const QUALITY: u8 = 84;

/// Why a file does not become a picture. Messages say what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// Another format, or none.
    #[error("this is no PNG, JPEG, GIF or WebP picture: save it as one of these (SVG is not shown by mail programs)")]
    Format,
    /// Too many pixels.
    #[error("the picture has {width} × {height} pixels: make it smaller, at most 50 million pixels and 16,384 a side")]
    Pixels {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// The file is damaged.
    #[error(
        "the picture cannot be read, the file is damaged or breaks off: open it in a picture program and save it anew"
    )]
    Damaged,
}

/// A picture ready to be kept.
#[derive(Debug)]
pub struct Prepared {
    /// For one device pixel to a CSS pixel.
    pub plain: Rendition,
    /// For two; `None` when the file has no more pixels.
    pub double: Option<Rendition>,
}

/// The format by the first bytes, whatever name or header say.
fn format(bytes: &[u8]) -> Result<ImageFormat, PictureError> {
    let found = image::guess_format(bytes).map_err(|_| PictureError::Format)?;
    match found {
        ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::Gif | ImageFormat::WebP => Ok(found),
        // The formats of the crate that we do not build.
        _ => Err(PictureError::Format),
    }
}

/// Makes the plain size, `width` CSS pixels wide at most, and the double one.
///
/// # Errors
/// See [`PictureError`].
pub fn prepare(bytes: &[u8], width: u32) -> Result<Prepared, PictureError> {
    let format = format(bytes)?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_ALLOC);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // Our own measure comes first, so that the message can tell it.
    reader.no_limits();
    let mut decoder = reader.into_decoder().map_err(|_| PictureError::Damaged)?;
    let (wide, high) = decoder.dimensions();
    if wide == 0 || high == 0 {
        return Err(PictureError::Damaged);
    }
    if wide > MAX_SIDE || high > MAX_SIDE || u64::from(wide) * u64::from(high) > MAX_PIXELS {
        return Err(PictureError::Pixels { width: wide, height: high });
    }
    decoder.set_limits(limits).map_err(|_| PictureError::Pixels { width: wide, height: high })?;
    if format == ImageFormat::Gif && moves(bytes) {
        // Made anew it would lose its movement.
        let plain = Rendition { media_type: "image/gif".into(), width: wide, height: high, bytes: bytes.to_vec() };
        return Ok(Prepared { plain, double: None });
    }
    let orientation = decoder.orientation().map_err(|_| PictureError::Damaged)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|_| PictureError::Damaged)?;
    picture.apply_orientation(orientation);
    let width = width.clamp(1, MAX_WIDTH);
    let double = sized(&picture, width * 2, MAX_HEIGHT, None)?;
    let plain = sized(&picture, width, MAX_HEIGHT / 2, Some(&double.media_type))?;
    let double = (double.width > plain.width).then_some(double);
    Ok(Prepared { plain, double })
}

/// Whether a GIF has more than one frame; looks at two of them only.
fn moves(bytes: &[u8]) -> bool {
    let Ok(mut decoder) = GifDecoder::new(Cursor::new(bytes)) else { return false };
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOC);
    if decoder.set_limits(limits).is_err() {
        return false;
    }
    decoder.into_frames().take(2).filter(Result::is_ok).count() > 1
}

/// The picture at most so wide and high, never larger than it is, in this format or in the better one of the two.
fn sized(picture: &DynamicImage, width: u32, height: u32, as_type: Option<&str>) -> Result<Rendition, PictureError> {
    let small = if picture.width() > width || picture.height() > height {
        &picture.resize(width, height, FilterType::Lanczos3)
    } else {
        picture
    };
    let mut bytes = Vec::new();
    // Mail programs know PNG and JPEG everywhere, WebP not. Only what has see-through places needs PNG; drawings with
    // few colours stay sharp and small as PNG, too, so the smaller one of both wins.
    let see_through = small.color().has_alpha() && small.to_rgba8().pixels().any(|p| p.0[3] < 255);
    let png = |bytes: &mut Vec<u8>| {
        let encoder = PngEncoder::new_with_quality(bytes, CompressionType::Default, PngFilter::Adaptive);
        if see_through {
            let raw = small.to_rgba8();
            encoder.write_image(&raw, raw.width(), raw.height(), ExtendedColorType::Rgba8)
        } else {
            let raw = small.to_rgb8();
            encoder.write_image(&raw, raw.width(), raw.height(), ExtendedColorType::Rgb8)
        }
    };
    png(&mut bytes).map_err(|_| PictureError::Damaged)?;
    let mut media_type = "image/png";
    if !see_through {
        let raw = small.to_rgb8();
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
            .write_image(&raw, raw.width(), raw.height(), ExtendedColorType::Rgb8)
            .map_err(|_| PictureError::Damaged)?;
        if as_type.map_or(jpeg.len() < bytes.len(), |wanted| wanted == "image/jpeg") {
            bytes = jpeg;
            media_type = "image/jpeg";
        }
    }
    Ok(Rendition { media_type: media_type.into(), width: small.width(), height: small.height(), bytes })
}

#[cfg(test)]
mod tests;
