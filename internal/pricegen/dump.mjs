// Writes the providers that are named, as the package has them.
import { findProvider } from '@pydantic/genai-prices'
import { argv, stdout } from 'node:process'

stdout.write(JSON.stringify(argv.slice(2).map(id => findProvider({ providerId: id }))))
