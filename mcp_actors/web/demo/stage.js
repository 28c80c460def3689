/** The tiles of all people, and of the screens that they share. */

import {$} from "./element.js";
import {TileGrid} from "./layout.js";
import {Tile} from "./tile.js";

export class Stage {
  #tiles = new Map(); // by id
  #screens = new Map(); // by the id of the person

  constructor() {
    for (const id of ["tiles", "screens"]) new TileGrid($(id));
    for (const type of ["click", "keydown"]) addEventListener(type, () => this.#unblock());
  }

  get size() {
    return this.#tiles.size;
  }

  /** Shows a person in its current state. @param {import("./person.js").Person} person */
  show(person) {
    const {id, self = false, screen} = person;
    this.#find(this.#tiles, id, $("tiles"), self).show(person);
    if (screen) this.#find(this.#screens, id, $("screens"), true).showScreen(person);
    else this.#drop(this.#screens, id);
    this.#arrange();
  }

  remove(id) {
    this.#drop(this.#tiles, id);
    this.#drop(this.#screens, id);
    this.#arrange();
  }

  #find(tiles, id, list, silent) {
    if (!tiles.has(id)) {
      const tile = new Tile(silent);
      tiles.set(id, tile);
      list.append(tile.element);
    }
    return tiles.get(id);
  }

  #drop(tiles, id) {
    tiles.get(id)?.remove();
    tiles.delete(id);
  }

  #arrange() {
    $("screens").hidden = this.#screens.size === 0;
    $("stage").classList.toggle("presenting", this.#screens.size > 0);
  }

  #unblock() {
    for (const tile of [...this.#tiles.values(), ...this.#screens.values()]) tile.unblock();
  }
}
