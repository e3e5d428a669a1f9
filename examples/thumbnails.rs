//! Thumbnails: one job per picture, made by a handler that blocks, with typed payload and result.
//!
//! The example paints its pictures, real PNG files of different shapes, and slips in a text file that
//! only claims to be one. That job fails for good: it becomes a dead letter, with its reason, and
//! takes nothing else down with it.
//!
//! ```text
//! $ cargo run -p ganger-examples --example thumbnails
//! submitted 9 pictures
//! 0.png: 320x240 to 96x72
//! 1.png: 240x320 to 72x96
//! ...
//! fake.png: dead letter (not-a-picture: ...)
//! 8 thumbnails fit 96x96 and keep their shape; 1 file was no picture
//! ```

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::fs;
use std::path::{Path, PathBuf};

use ganger_broker::Broker;
use ganger_worker::{Client, Ctx, JobError, JobFailed, Worker};
use image::{Rgb, RgbImage};
use serde::{Deserialize, Serialize};

/// What a worker has to know: the payload of a job.
#[derive(Serialize, Deserialize)]
struct Picture {
    file: PathBuf,
    /// The thumbnail fits a square with sides of so many pixels.
    side: u32,
}

/// What comes of it: the result of a job.
#[derive(Serialize, Deserialize)]
struct Thumbnail {
    file: PathBuf,
    original: (u32, u32),
}

fn thumbnail(picture: Picture, _: Ctx) -> Result<Thumbnail, JobError> {
    // A file that cannot be read may be there later: `?` has the job tried again. One that is no
    // picture never will be.
    let bytes = fs::read(&picture.file)?;
    let original = image::load_from_memory(&bytes)
        .map_err(|error| JobError::dead("not-a-picture", &error.to_string()))?;
    let file = picture.file.with_extension("thumb.png");
    original.thumbnail(picture.side, picture.side).save(&file)?;
    Ok(Thumbnail { file, original: (original.width(), original.height()) })
}

fn main() -> anyhow::Result<()> {
    ganger_worker::block_on(async {
        let broker = Broker::builder().pipes_only().in_memory().start().await?;
        let client = Client::over(broker.connect_pipe(), broker.key().clone()).await?;
        let worker = Worker::new(client.clone())
            .queue("thumbnails")
            .concurrency(4)
            .blocking("thumbnails", thumbnail);
        let drainer = worker.drainer();
        let working = ganger_worker::spawn(worker.run());

        let folder = tempfile::tempdir()?;
        make_thumbnails(&client, folder.path()).await?;

        drainer.drain();
        working.await?;
        client.close().await;
        broker.stop().await?;
        Ok(())
    })
}

async fn make_thumbnails(client: &Client, folder: &Path) -> anyhow::Result<()> {
    let queue = client.queue("thumbnails")?;
    let mut jobs = Vec::new();
    for file in paint(folder)? {
        let job = queue.submit_json(&Picture { file: file.clone(), side: 96 }).notify().await?;
        jobs.push((file, job));
    }
    println!("submitted {} pictures", jobs.len());

    let (mut made, mut refused) = (0, 0);
    for (file, job) in jobs {
        let name = file.file_name().unwrap_or_default().display();
        match job.result_json::<Thumbnail>().await {
            Ok(thumbnail) => {
                let (width, height) = thumbnail.original;
                let (w, h) = image::image_dimensions(&thumbnail.file)?;
                println!("{name}: {width}x{height} to {w}x{h}");
                assert_eq!(w.max(h), 96, "the longer side fills the square");
                assert!((width * h).abs_diff(height * w) <= width.max(height), "the shape is kept");
                made += 1;
            }
            Err(JobFailed::Dead { failure: Some(failure), .. }) => {
                println!("{name}: dead letter ({failure})");
                assert_eq!(failure.kind, "not-a-picture");
                refused += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    assert_eq!((made, refused), (8, 1));
    println!("{made} thumbnails fit 96x96 and keep their shape; {refused} file was no picture");
    Ok(())
}

/// Eight pictures with stripes and a file that is none.
fn paint(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for number in 0..8_u8 {
        let (long, short) = (320, 240 - 20 * u32::from(number / 2));
        let (width, height) = if number % 2 == 0 { (long, short) } else { (short, long) };
        let stripes = RgbImage::from_fn(width, height, |x, y| {
            let shade = ((x + y) / 16 % 2) as u8 * 128;
            Rgb([shade, 32 * number, 255 - shade])
        });
        let file = folder.join(format!("{number}.png"));
        stripes.save(&file)?;
        files.push(file);
    }
    let fake = folder.join("fake.png");
    fs::write(&fake, "I am a picture, honestly.")?;
    files.push(fake);
    Ok(files)
}
