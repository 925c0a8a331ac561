// Light, dark, or as the system has it.

type Theme = 'auto' | 'light' | 'dark';
const ORDER: Theme[] = ['auto', 'light', 'dark'];
const STORED = 'postrider.theme';

class Appearance {
  chosen: Theme = $state('auto');

  constructor() {
    try {
      const stored = localStorage.getItem(STORED) as Theme | null;
      if (stored && ORDER.includes(stored)) this.choose(stored);
    } catch {
      // Private windows keep nothing.
    }
  }

  choose(theme: Theme) {
    this.chosen = theme;
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem(STORED, theme);
    } catch {
      // As above.
    }
  }

  turn() {
    this.choose(ORDER[(ORDER.indexOf(this.chosen) + 1) % ORDER.length] ?? 'auto');
  }
}

export const theme = new Appearance();
