import { createApp } from 'vue'
import App from './App.vue'
import { applyPreferences } from './preferences'
import { router } from './router'
import { takeKeyOfLink } from './session'
import './styles.css'

applyPreferences()
takeKeyOfLink()
createApp(App).use(router).mount('#app')
