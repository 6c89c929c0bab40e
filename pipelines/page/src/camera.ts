/** A photo from the camera, as a PNG; null where it was not taken. Throws an Error of one sentence where there is no camera. */

import { byId } from "./dom.ts";

export async function shoot(): Promise<File | null> {
  const devices = navigator.mediaDevices as MediaDevices | undefined; // none on pages that came by plain http
  const wanted = { video: { width: { ideal: 4096 }, facingMode: "environment" } };
  const stream = await devices?.getUserMedia(wanted).catch(() => null);
  if (!stream) throw new Error("No camera can be used: there is none, or the browser was not allowed to.");
  const dialog = byId<HTMLDialogElement>("shooting"), video = byId<HTMLVideoElement>("video");
  try {
    video.srcObject = stream;
    await video.play();
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
    if (dialog.returnValue !== "shoot") return null;
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    canvas.getContext("2d")?.drawImage(video, 0, 0);
    return new File([await canvas.convertToBlob({ type: "image/png" })], "camera.png", { type: "image/png" });
  } finally {
    video.srcObject = null;
    for (const track of stream.getTracks()) track.stop();
  }
}
