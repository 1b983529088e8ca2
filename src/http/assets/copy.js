// Shows a button beside each field that is there to be copied. Without this, the field is selected as a whole.
for (const place of document.querySelectorAll(".copying")) {
  const [button, said] = place.children;
  const field = document.getElementById(button.dataset.copies);
  place.hidden = false;
  button.addEventListener("click", async () => {
    said.textContent = "";
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      // Without https there is no clipboard, but there is this.
      field.select();
      if (!document.execCommand("copy")) return;
    }
    // Told anew each time.
    setTimeout(() => (said.textContent = button.dataset.copied), 50);
  });
}
