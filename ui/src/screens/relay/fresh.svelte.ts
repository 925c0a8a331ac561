// A password that was just made, on its way from the answer to the page that shows it. Kept in this tab's memory alone: whoever
// leaves the page has seen it for the last time.

class Fresh {
  private id = '';
  private password = $state('');

  put(id: string, password: string) {
    this.id = id;
    this.password = password;
  }

  /** The password of this application, while it can be shown. */
  of(id: string): string {
    const password = this.password;
    return this.id === id ? password : '';
  }

  forget() {
    this.id = '';
    this.password = '';
  }
}

export const fresh = new Fresh();
