/** Imported before the router, which remembers the address that it begins with: the key is not in it any longer. */
import { takeKeyOfLink } from './session'

takeKeyOfLink()
