// Short words about something that worked. Errors are never only here.

export interface Toast {
  id: number;
  text: string;
  /** A button, such as Undo. */
  action?: { label: string; run: () => void };
}

class Toasts {
  all: Toast[] = $state([]);
  private next = 0;

  /** Says it for some seconds. */
  say(text: string, action?: Toast['action'], seconds = 6) {
    this.next += 1;
    const id = this.next;
    this.all.push({ id, text, action });
    setTimeout(() => this.end(id), seconds * 1000);
  }

  end(id: number) {
    this.all = this.all.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();
